"""The examples run where their data are: pip install '.[docs]'. Elsewhere they are not collected."""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    collect_ignore_glob = ["test_*.py"]
