"""Parity runs where its oracles are: pip install '.[parity]'. Elsewhere its files are not collected."""

from importlib.util import find_spec

import pytest

import dlcore as dl

if find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def seeds():
    import torch

    torch.manual_seed(0)
    dl.manual_seed(0)
