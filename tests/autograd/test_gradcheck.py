"""gradcheck and gradgradcheck accept right gradients and refuse wrong ones."""

import pytest

import dlcore as dl
from dlcore.autograd import gradcheck, gradgradcheck
from dlcore.gradcheck import GradcheckError
from tests.autograd.common import Cube, WrongCube, leaf


def test_gradcheck_accepts_right_and_refuses_wrong_gradients():
    x = leaf([[0.5, -1.0], [2.0, 3.0]], dl.float64)
    assert gradcheck(Cube.apply, x)
    assert gradcheck(lambda a, b: a * b + a, [x, leaf([1.0, 2.0], dl.float64)])
    with pytest.raises(GradcheckError, match=r"output 0 with respect to input 0 is wrong in 4 of 16 elements"):
        gradcheck(WrongCube.apply, x)
    assert not gradcheck(WrongCube.apply, x, raise_exception=False)
    assert x.tolist() == [[0.5, -1.0], [2.0, 3.0]], "the input is put back"


def test_gradcheck_finds_a_lost_dependence():
    x = leaf([1.0, 2.0], dl.float64)
    with pytest.raises(GradcheckError, match="is wrong"):
        gradcheck(lambda x: x * x.detach(), x)


def test_gradcheck_finds_gradients_that_change():
    class _Random(Cube):
        calls = 0

        @staticmethod
        def backward(ctx, dy):
            _Random.calls += 1
            return dy * float(_Random.calls)

    with pytest.raises(GradcheckError, match="in two runs"):
        gradcheck(_Random.apply, leaf([1.0], dl.float64))


def test_gradcheck_through_a_closure():
    w = leaf([3.0], dl.float64)
    assert gradcheck(lambda w_: w * w, w)


def test_gradcheck_arguments():
    with pytest.raises(ValueError, match="expected at least one input that requires a gradient"):
        gradcheck(lambda x: x, dl.tensor([1.0]))
    with pytest.raises(ValueError, match="differences need float64, got input 0 of dlcore.float32"):
        gradcheck(lambda x: x * x, leaf([1.0]))
    wide = dl.expand(dl.tensor([1.0], dtype=dl.float64), (3,)).detach().requires_grad_()
    with pytest.raises(ValueError, match="is read-only or expanded"):
        gradcheck(lambda x: x * x, wide)


def test_gradgradcheck():
    x = leaf([[0.5, -1.0], [2.0, 3.0]], dl.float64)
    assert gradgradcheck(lambda a: a * a * a, x)
    assert gradgradcheck(lambda a: a @ a, x, dl.ones((2, 2), dtype=dl.float64))
    with pytest.raises(NotImplementedError, match=r"\[cube\] second derivatives"):
        gradgradcheck(Cube.apply, x)
