"""Parity runs where its oracles are: pip install '.[parity]'. Elsewhere its files are not collected."""

from importlib.util import find_spec

if find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]
