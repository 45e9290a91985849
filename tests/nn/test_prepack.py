"""Packed weights: the same bits as without, whatever happens to the weights meanwhile."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dlcore as dl
from dlcore import _C, nn
from dlcore.nn.utils import prepack
from dlcore.optim import SGD


def model(dtype=dl.float32):
    layers = (
        nn.Conv2d(16, 64, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(64, 66, 3, 2),
        nn.Conv2d(66, 96, 1, 2),
        nn.Conv2d(96, 8, 1),
    )
    return nn.Sequential(*layers).to(dtype).eval()


def perceptron(dtype=dl.float32):
    return nn.Sequential(nn.Linear(130, 260), nn.ReLU(), nn.Linear(260, 140)).to(dtype).eval()


def images(n, dtype=dl.float32):
    return dl.randn((n, 16, 15, 14), dtype=dtype)


def bits(module, x):
    with dl.no_grad():
        return module(x).numpy().copy()


def memory():
    return dl.memory_stats()["live"]


@pytest.mark.parametrize("dtype", [dl.float32, dl.float64])
def test_same_bits(dtype):
    module = model(dtype)
    batches = [images(n, dtype) for n in (1, 4, 1)]
    expected = [bits(module, x) for x in batches]
    assert prepack(module) is module
    for _ in range(2):
        for x, y in zip(batches, expected, strict=True):
            assert np.array_equal(bits(module, x), y)


@pytest.mark.parametrize("dtype", [dl.float32, dl.float64, dl.bfloat16])
def test_linear_layers(dtype):
    module = perceptron(dtype)
    batches = [dl.randn((n, 130)).to(dtype) for n in (200, 1, 40, 400)]
    with dl.no_grad():
        expected = [module(x).float().numpy().copy() for x in batches]
        before = memory()
        prepack(module)
        for _ in range(2):
            for x, y in zip(batches, expected, strict=True):
                assert np.array_equal(module(x).float().numpy(), y)
    weights = sum(layer.weight.numel() for layer in module if isinstance(layer, nn.Linear))
    assert memory() - before >= weights * (8 if dtype is dl.float64 else 4)


def test_the_copy_is_kept_and_given_back():
    module, x = model(), images(1)
    bits(module, x)
    before = memory()
    weights = sum(layer.weight.nbytes for layer in module if isinstance(layer, nn.Conv2d) and layer.out_channels >= 32)
    prepack(module)
    assert memory() == before  # only made when it is used
    bits(module, x)
    kept = memory() - before
    assert weights <= kept < 1.5 * weights
    bits(module, x)
    assert memory() - before == kept
    prepack(module, keep=False)
    assert memory() == before


def test_weights_that_change():
    module, plain, x = prepack(model()), model(), images(2)
    for _ in range(3):
        for p in module.parameters():
            with dl.no_grad():
                p.mul_(1.25)
        plain.load_state_dict(module.state_dict())
        assert np.array_equal(bits(module, x), bits(plain, x))


def test_training_goes_on():
    module, x = model(), images(2)
    plain = copy.deepcopy(module)
    prepack(module)
    for m in (module, plain):
        optimizer = SGD(m.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            m(x).square().mean().backward()
            optimizer.step()
    assert np.array_equal(bits(module, x), bits(plain, x))


def test_other_targets_pack_anew():
    module, plain, x = prepack(model()), model(), images(1)
    plain.load_state_dict(module.state_dict())
    before = _C.target()
    try:
        for target in ("baseline", before, "baseline"):
            _C.set_target(target)
            assert np.array_equal(bits(module, x), bits(plain, x))
    finally:
        _C.set_target(before)


def test_several_threads_at_once():
    module, x = prepack(model()), images(1)
    expected = bits(copy.deepcopy(module), x)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: bits(module, x), range(40)):
            assert np.array_equal(y, expected)


def test_only_modules():
    with pytest.raises(TypeError, match="expected a Module, got list"):
        prepack([model()])
