"""safetensors files: every dtype there and back, lifetimes, and everything that can be wrong with a file."""

import contextlib
import errno
import gc
import json
import os
import resource

import numpy as np
import pytest

import dlcore as dl
from dlcore import io

DTYPES = [dl.float32, dl.bfloat16, dl.float64, dl.int64, dl.int32, dl.uint8, dl.bool_]


def raw_file(path, header, data=b""):
    """A file with this header (JSON-able, or the bytes themselves) and these data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5), (2, 1, 2, 1, 2, 1, 2, 2)], ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, dtype, shape):
    x = dl.tensor(np.random.default_rng(0).integers(0, 2, shape), dtype=dtype)
    io.save_file({"x": x}, tmp_path / "x.safetensors")
    y = io.load_file(tmp_path / "x.safetensors")["x"]
    assert y.dtype is dtype and y.shape == shape
    assert np.array_equal(y.numpy(), x.numpy())


def test_special_values_keep_their_bits(tmp_path):
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    io.save_file({"x": dl.tensor(x)}, tmp_path / "x.safetensors")
    y = io.load_file(tmp_path / "x.safetensors")["x"].numpy()
    assert np.array_equal(x.view(np.uint32), y.view(np.uint32))


def test_strided_and_shared_tensors_are_written_whole(tmp_path):
    x = dl.tensor(np.arange(24, dtype=np.float32).reshape(4, 6))
    wide = x.reshape(1, 4, 6).expand(3, 4, 6)
    io.save_file({"t": x.T, "twice": x, "again": x, "wide": wide}, tmp_path / "x.safetensors")
    y = io.load_file(tmp_path / "x.safetensors")
    assert np.array_equal(y["t"].numpy(), x.numpy().T)
    assert np.array_equal(y["twice"].numpy(), y["again"].numpy())
    assert y["wide"].shape == (3, 4, 6)


def test_names_and_metadata(tmp_path):
    path = tmp_path / "x.safetensors"
    names = ["", "a.b", "schön", 'quote"', "__meta__"]
    io.save_file({n: dl.full((1,), float(i)) for i, n in enumerate(names)}, path, {"step": "3", "é": "ü"})
    with io.safe_open(path) as f:
        assert sorted(f.keys()) == sorted(names)
        assert f.metadata() == {"step": "3", "é": "ü"}
        assert [f.get_tensor(n).item() for n in names] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_lazy_reader(tmp_path):
    io.save_file({"a": dl.zeros((2, 3)), "b": dl.arange(4)}, tmp_path / "x.safetensors")
    with io.safe_open(tmp_path / "x.safetensors") as f:
        assert len(f) == 2 and "a" in f and "c" not in f and set(f) == {"a", "b"}
        assert f.get_shape("a") == (2, 3) and f.get_dtype("b") is dl.int64
        with pytest.raises(KeyError, match="no tensor 'c'; the file has b, a"):
            f.get_tensor("c")
        kept = f.get_tensor("b")
    assert kept.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="the file is closed"):
        f.get_tensor("a")


def test_loaded_tensors_are_writable_copies_of_the_pages(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save_file({"a": dl.zeros((4,)), "b": dl.zeros((4,))}, path)
    before = path.read_bytes()
    loaded = io.load_file(path)
    version = loaded["b"]._version
    loaded["a"].numpy()[:] = 7.0
    assert loaded["a"].tolist() == [7.0] * 4
    assert loaded["b"]._version == version and loaded["a"]._storage_ptr() != loaded["b"]._storage_ptr()
    assert path.read_bytes() == before


def test_tensors_outlive_the_file_and_the_reader(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save_file({"a": dl.arange(1000)}, path)
    a = io.load_file(path)["a"]
    io.save_file({"a": dl.zeros((2,))}, path)  # another file takes the name
    path.unlink()
    gc.collect()
    assert a.tolist() == list(range(1000))


def test_misaligned_data_are_copied(tmp_path):
    values = np.array([1.5, -2.5], np.float32)
    header = {"m": entry("U8", (1,), (0, 1)), "x": entry("F32", (2,), (1, 9))}
    loaded = io.load_file(raw_file(tmp_path / "x", header, b"\x05" + values.tobytes()))
    assert loaded["m"].tolist() == [5] and loaded["x"].tolist() == [1.5, -2.5]


GOOD = {"x": entry()}
BAD = {
    "empty file": (b"", "the file is empty"),
    "short file": (b"\x01\x00", "the file is truncated: expected 8 bytes of header length, got 2"),
    "huge header": ((2**63 + 5).to_bytes(8, "little") + b"{}", "length is 9223372036854775813 bytes, over the limit"),
    "all ones": (b"\xff" * 16, "over the limit"),
    "header over the end": ((100).to_bytes(8, "little") + b"{}", "truncated: the header takes 108 bytes"),
    "not JSON": (b"not json", "the header is not JSON"),
    "not UTF-8": (b'{"\xff": 1}', "the header is not JSON"),
    "deep nesting": (b"[" * 200_000, "the header is not JSON"),
    "number of many digits": (b'{"x": ' + b"9" * 5000 + b"}", "the header is not JSON"),
    "list": ([], "the header must be a JSON object, got list"),
    "duplicate key": (b'{"x": 1, "x": 2}', "the header has the key 'x' twice"),
    "duplicate field": (b'{"x": {"dtype": "F32", "dtype": "F64"}}', "the header has the key 'dtype' twice"),
    "entry is no object": ({"x": 3}, "tensor 'x' must have dtype, shape and data_offsets"),
    "missing field": ({"x": {"dtype": "F32", "shape": []}}, "tensor 'x' must have dtype, shape and data_offsets"),
    "unknown dtype": ({"x": entry("F8")}, "has dtype 'F8', expected one of I64, F64, F32, I32, BF16, U8, BOOL"),
    "dtype is a number": ({"x": entry(3)}, "tensor 'x' has dtype '3'"),
    "negative size": ({"x": entry(shape=(-2,))}, "must have at most 8 sizes"),
    "size is a float": ({"x": entry(shape=(2.0,))}, "must have at most 8 sizes"),
    "size is a bool": ({"x": entry(shape=(True,))}, "must have at most 8 sizes"),
    "nine dimensions": ({"x": entry(shape=(1,) * 9)}, "must have at most 8 sizes"),
    "shape overflows": ({"x": entry(shape=(2**33, 2**33))}, "whose bytes do not fit into 63 bits"),
    "shape wraps to zero": ({"x": entry(shape=(2**62, 4), offsets=(0, 0))}, "whose bytes do not fit into 63 bits"),
    "empty overflows": ({"x": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}, "whose bytes do not fit into 63 bits"),
    "offset out of range": ({"x": entry(offsets=(8, 16))}, r"has data_offsets \[8, 16\], outside of the 8 bytes"),
    "offset over 64 bits": ({"x": entry(offsets=(2**64, 2**64 + 8))}, "must have two data_offsets"),
    "offsets reversed": ({"x": entry(offsets=(8, 0))}, "outside of the 8 bytes"),
    "negative offset": ({"x": entry(offsets=(-8, 0))}, "must have two data_offsets"),
    "three offsets": ({"x": entry(offsets=(0, 4, 8))}, "must have two data_offsets"),
    "size mismatch": ({"x": entry(shape=(3,))}, r"takes 12 bytes, its data_offsets \[0, 8\] span 8"),
    "overlap": ({"x": entry(), "y": entry(shape=(1,), offsets=(4, 8))}, "the data of 'x' and 'y' overlap"),
    "gap": ({"x": entry(shape=(1,), offsets=(4, 8))}, "leave a gap: 'x' begins at 4, expected 0"),
    "bytes left over": ({"x": entry(shape=(1,), offsets=(0, 4))}, "the tensors take 4 bytes of data, the file has 8"),
    "metadata": ({"__metadata__": {"a": 1}, **GOOD}, "__metadata__ must map strings to strings"),
    "metadata list": ({"__metadata__": [], **GOOD}, "__metadata__ must map strings to strings"),
}
RAW = ("empty file", "short file", "huge header", "all ones", "header over the end")


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path, case):
    header, text = BAD[case]
    path = tmp_path / "bad.safetensors"
    if case in RAW:
        path.write_bytes(header)
    else:
        raw_file(path, header, b"\0" * 8)
    with pytest.raises(ValueError, match=text) as e:
        io.load_file(path)
    assert str(path) in str(e.value)


def test_every_truncation_is_refused(tmp_path):
    io.save_file({"a": dl.arange(5), "b": dl.ones((3,))}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    for n in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:n])
        with pytest.raises(ValueError, match="cut"):
            io.load_file(tmp_path / "cut")


def test_flipped_bytes_of_the_header_never_crash(tmp_path):
    io.save_file({"a": dl.arange(5), "b": dl.ones((3,))}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        data = bytearray(whole)
        for at in rng.integers(0, len(whole) - 52, 2):
            data[at] = rng.integers(256)
        (tmp_path / "y").write_bytes(data)
        try:
            for t in io.load_file(tmp_path / "y").values():
                assert np.asarray(t.numpy()).size == t.numel()
        except ValueError as e:
            assert str(tmp_path / "y") in str(e)
            refused += 1
    assert refused > 400


def test_bool_bytes_other_than_0_and_1_are_refused(tmp_path):
    with pytest.raises(ValueError, match="tensor 'x' has BOOL bytes other than 0 and 1"):
        io.load_file(raw_file(tmp_path / "x", {"x": entry("BOOL", (2,), (0, 2))}, b"\x01\x02"))


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        io.load_file(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        io.load_file(tmp_path)


def test_bad_arguments_of_save(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(TypeError, match=r"\[save_file\] expected a Tensor for 'x', got ndarray"):
        io.save_file({"x": np.zeros(3)}, path)
    with pytest.raises(TypeError, match="expected names of type str, got 3"):
        io.save_file({3: dl.zeros((3,))}, path)
    with pytest.raises(ValueError, match="cannot be named '__metadata__'"):
        io.save_file({"__metadata__": dl.zeros((3,))}, path)
    with pytest.raises(TypeError, match="expected metadata that maps str to str"):
        io.save_file({}, path, {"step": 3})
    assert os.listdir(tmp_path) == []


def test_empty_table(tmp_path):
    io.save_file({}, tmp_path / "x")
    assert io.load_file(tmp_path / "x") == {}


@contextlib.contextmanager
def small_disk():
    """No file may grow over 1000 bytes, pytest's own output neither: a write that would gets an OSError, as on a full
    disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "x.safetensors"
    io.save_file({"a": dl.arange(3)}, path)
    before = path.read_bytes()
    with pytest.raises(OSError) as e, small_disk():
        io.save_file({"a": dl.zeros((1000,))}, path)
    assert e.value.errno == errno.EFBIG
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failing_system_call_leaves_the_old_file_whole(tmp_path, monkeypatch, call):
    path = tmp_path / "x.safetensors"
    io.save_file({"a": dl.arange(3)}, path)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError) as e:
        io.save_file({"a": dl.zeros((1000,))}, path)
    monkeypatch.undo()
    assert e.value.errno == errno.ENOSPC
    assert io.load_file(path)["a"].tolist() == [0, 1, 2] and os.listdir(tmp_path) == ["x.safetensors"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    io.save_file({"a": dl.arange(20)}, tmp_path / "x")
    assert io.load_file(tmp_path / "x")["a"].tolist() == list(range(20))


def test_saving_through_a_symbolic_link_keeps_the_link(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "file")
    io.save_file({"a": dl.arange(3)}, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and io.load_file(tmp_path / "deep" / "file")["a"].tolist() == [0, 1, 2]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        io.save_file({}, tmp_path / "x")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
