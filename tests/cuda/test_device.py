"""Tensors on the device: moving there and back, gradients, errors, memory."""

import os
import subprocess
import sys

import numpy as np
import pytest

import dlcore as dl
from dlcore import io, nn, optim


def test_there_and_back():
    for dtype in ("float32", "bfloat16", "float64", "int64", "int32", "uint8", "bool"):
        x = dl.cast(dl.arange(24), dtype).reshape(4, 6)
        there = x.cuda()
        assert there.device == "cuda" and there.is_cuda and there.dtype is x.dtype and there.shape == x.shape
        assert there.cuda() is there and x.cpu() is x
        assert there.cpu().device == "cpu" and there.tolist() == x.tolist()
    turned = dl.randn(3, 5, 2).transpose(0, 2)
    np.testing.assert_array_equal(turned.cuda().cpu().numpy(), turned.numpy())
    np.testing.assert_array_equal(turned.cuda().transpose(0, 1).cpu().numpy(), turned.transpose(0, 1).numpy())
    assert dl.randn(0, 3).cuda().cpu().shape == (0, 3)


def test_creation_there():
    for made in (
        dl.zeros((2, 3), device="cuda"),
        dl.ones((2, 3), device="cuda"),
        dl.full((2, 3), 1.5, device="cuda"),
        dl.tensor([[1.0, 2.0]], device="cuda:0"),
        dl.randn(2, 3, device="cuda"),
        dl.randint(0, 5, (4,), device="cuda"),
        dl.arange(5, device="cuda"),
        dl.zeros_like(dl.ones((2,), device="cuda")),
        dl.tensor([1, 2]).to("cuda", dl.float32),
    ):
        assert made.device == "cuda"
    assert dl.full((2,), 1.5, device="cuda").tolist() == [1.5, 1.5]


def test_random_numbers_are_those_of_the_cpu():
    for shape in ((1000,), (7, 33)):
        dl.manual_seed(3)
        here = dl.rand(shape), dl.randint(-5, 1000, shape), dl.randn(shape)
        dl.manual_seed(3)
        there = (
            dl.rand(shape, device="cuda"),
            dl.randint(-5, 1000, shape, device="cuda"),
            dl.randn(shape, device="cuda"),
        )
        for a, b in zip(here[:2], there[:2], strict=True):
            assert a.tolist() == b.tolist()
        np.testing.assert_allclose(here[2].numpy(), there[2].cpu().numpy(), atol=1e-5)
    dl.manual_seed(4)
    here = dl.dropout(dl.ones((500,)), 0.3, True)
    dl.manual_seed(4)
    assert dl.dropout(dl.ones((500,), device="cuda"), 0.3, True).tolist() == here.tolist()


def test_gradients_cross_over():
    x = dl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x.cuda() * dl.tensor([2.0, 3.0, 4.0], device="cuda")).cpu()
    (y * y).sum().backward()
    assert x.grad is not None and x.grad.device == "cpu" and x.grad.tolist() == [8.0, 36.0, 96.0]
    leaf = dl.ones((3,), device="cuda", requires_grad=True)
    (leaf.cpu() * 2).sum().backward()
    assert leaf.grad is not None and leaf.grad.device == "cuda" and leaf.grad.tolist() == [2.0, 2.0, 2.0]


def test_copies_between_devices():
    there = dl.zeros((2, 2), device="cuda")
    there.copy_(dl.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert there.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    here = dl.zeros((2, 2))
    here.copy_(there * 2)
    assert here.tolist() == [[2.0, 4.0], [6.0, 8.0]]


MIXED = [
    (lambda a, b: a + b, "[add] expected tensors on one device, got a on cpu and b on cuda"),
    (lambda a, b: b.matmul(a), "[matmul] expected tensors on one device, got b on cpu and a on cuda"),
    (lambda a, b: dl.where(a > 0, b, b), "[where] expected tensors on one device"),
    (lambda a, b: dl.layer_norm(b, (3,), a[0]), "[layer_norm_forward] expected tensors on one device"),
    (lambda a, b: a.add_(b), "[add_] expected tensors on one device"),
]


@pytest.mark.parametrize(("call", "text"), MIXED)
def test_mixed_devices_are_refused_by_name(call, text):
    with pytest.raises(ValueError, match=r"^\[") as caught:
        call(dl.ones((3, 3)), dl.ones((3, 3), device="cuda"))
    assert text in str(caught.value)


def test_ops_without_kernels_refuse():
    for call in (lambda x: dl.sort(x), lambda x: dl.nn.functional.conv2d(x[None, None], x[None, None])):
        with pytest.raises(NotImplementedError, match=r"has no CUDA kernel.*\.to\('cpu'\)"):
            call(dl.ones((3, 3), device="cuda"))
    with pytest.raises(BufferError, match=r"lies on 'cuda'.*\.cpu\(\)"):
        dl.ones((3,), device="cuda").numpy()
    with pytest.raises(ValueError, match=r"\[__dlpack__\] expected a tensor on the CPU"):
        dl.ones((3,), device="cuda").__dlpack__()


def test_indices_are_checked():
    table = dl.randn(5, 3, device="cuda")
    with pytest.raises(IndexError, match=r"out of range"):
        dl.embedding(dl.tensor([1, 5], device="cuda"), table)
    with pytest.raises(IndexError, match=r"target 7 at position 1 is out of range for 5 classes"):
        dl.cross_entropy(dl.randn(2, 5, device="cuda"), dl.tensor([0, 7], device="cuda"))
    with pytest.raises(ZeroDivisionError):
        dl.tensor([3], device="cuda") // dl.tensor([0], device="cuda")


def test_memory():
    before = dl.cuda.memory_stats()["live"]
    x = dl.zeros((1000,), device="cuda")
    assert dl.cuda.memory_stats()["live"] == before + 4000
    del x
    assert dl.cuda.memory_stats()["live"] == before
    dl.cuda.reset_peak_memory()
    assert dl.cuda.memory_stats()["peak"] == before
    dl.cuda.set_memory_limit(before + 1000)
    try:
        with pytest.raises(MemoryError, match=r"cannot allocate 4000 bytes on cuda: the limit would be passed; live"):
            dl.zeros((1000,), device="cuda")
    finally:
        dl.cuda.set_memory_limit(None)
    with pytest.raises(MemoryError, match=r"on cuda: the device has no more memory"):
        dl.empty((1 << 50,), dl.uint8, device="cuda")
    assert dl.ones((4,), device="cuda").tolist() == [1.0] * 4  # and the program goes on
    dl.cuda.synchronize()
    dl.cuda.empty_cache()


def test_unknown_devices():
    for name in ("cuda:1", "tpu"):
        with pytest.raises(ValueError, match=rf"\[zeros\] device '{name}' is not available"):
            dl.zeros((2,), device=name)


def test_modules_move():
    layer = nn.Linear(4, 3)
    x = dl.randn(2, 4)
    expected = layer(x)
    weight = layer.weight
    assert layer.cuda() is layer and layer.weight is weight and weight.device == "cuda"
    np.testing.assert_allclose(layer(x.cuda()).detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert layer.cpu().weight.device == "cpu"


def test_checkpoints(tmp_path):
    """What was trained there is saved as from the CPU and goes on there."""
    dl.manual_seed(0)
    model, other = nn.Linear(4, 3).cuda(), nn.Linear(4, 3).cuda()
    steps, others = optim.AdamW(model.parameters()), optim.AdamW(other.parameters())
    x = dl.randn(5, 4, device="cuda")
    (model(x) * model(x)).sum().backward()
    steps.step()
    io.save_file(model.state_dict(), tmp_path / "model.safetensors")
    state = io.load_file(tmp_path / "model.safetensors")
    assert all(t.device == "cpu" for t in state.values())
    other.load_state_dict(state)
    others.load_state_dict(steps.state_dict())
    for a, b in ((model, steps), (other, others)):
        b.zero_grad()
        (a(x) * a(x)).sum().backward()
        b.step()
    assert other.weight.device == "cuda" and other.weight.tolist() == model.weight.tolist()


def test_the_operation_at_fault_is_named():
    """With DLCORE_CUDA_SYNC=1 a kernel's error comes from its own operation, not from the next that waits."""
    program = (
        "import dlcore as dl\n"
        "from dlcore import _C\n"
        "x = _C.empty((4,), 'float32', 'cuda')\n"
        "try:\n    y = dl.exp(x)\nexcept RuntimeError as e:\n    print('at once:', e)\n"
        "else:\n"
        "    try:\n        dl.cuda.synchronize()\n    except RuntimeError as e:\n        print('later:', e)\n"
    )
    for sync, when in (("1", "at once: [exp] CUDA: read of unset"), ("0", "later: [synchronize] CUDA: read of unset")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "DLCORE_CUDA_SYNC": sync},
            text=True,
            capture_output=True,
            check=True,
        )
        if os.environ.get("DLCORE_CUDA_BUILD") == "checked":
            assert done.stdout.startswith(when), done.stdout + done.stderr
        else:  # nobody looks
            assert done.stdout == "", done.stdout
