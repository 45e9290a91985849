"""Our safetensors files against the reference implementation, both ways."""

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save as reference_save
from safetensors.torch import load_file as torch_load
from safetensors.torch import save_file as torch_save

import dlcore as dl
from dlcore import io
from tests.io.test_safetensors import BAD, RAW, raw_file

SHAPES = [(), (0, 3), (5,), (3, 4), (2, 1, 3)]
TORCH = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def torch_tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        f"{name}.{i}": torch.randint(0, 2 if name == "bool" else 100, shape, generator=generator).to(dtype)
        for name, dtype in TORCH.items()
        for i, shape in enumerate(SHAPES)
    }


def as_torch(t):
    return torch.from_numpy(np.array(t.numpy())).to(TORCH[t.dtype.name])


def test_we_read_what_the_reference_writes(tmp_path):
    theirs = torch_tensors()
    torch_save(theirs, tmp_path / "x", {"key": "välue"})
    ours = io.load_file(tmp_path / "x")
    assert ours.keys() == theirs.keys()
    for name, t in theirs.items():
        assert ours[name].dtype.name == name.split(".")[0]
        assert torch.equal(as_torch(ours[name]), t)
    assert io.safe_open(tmp_path / "x").metadata() == {"key": "välue"}


def test_the_reference_reads_what_we_write(tmp_path):
    torch_save(torch_tensors(), tmp_path / "x")
    ours = io.load_file(tmp_path / "x")
    io.save_file(ours, tmp_path / "y", {"key": "välue"})
    for name, t in torch_load(tmp_path / "y").items():
        assert t.dtype is TORCH[name.split(".")[0]] and torch.equal(t, as_torch(ours[name]))


def test_the_same_bytes(tmp_path):
    torch_save(torch_tensors(), tmp_path / "x")
    io.save_file(io.load_file(tmp_path / "x"), tmp_path / "y")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    arrays = {"schön": np.arange(3), 'q"\\': np.ones((2, 2), np.float32)}
    io.save_file({k: dl.from_numpy(v) for k, v in arrays.items()}, tmp_path / "z")
    assert (tmp_path / "z").read_bytes() == reference_save(arrays)


@pytest.mark.parametrize("case", [c for c in BAD if c not in RAW])
def test_the_reference_refuses_what_we_refuse(tmp_path, case):
    path = raw_file(tmp_path / "x", BAD[case][0], b"\0" * 8)
    with pytest.raises((SafetensorError, ValueError, OverflowError)):
        torch_load(path)
    with pytest.raises(ValueError):
        io.load_file(path)
