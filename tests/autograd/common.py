"""What the tests of autograd share."""

import dlcore as dl
from dlcore.autograd import Function


def leaf(values, dtype=None):
    return dl.tensor(values, dtype=dtype, requires_grad=True)


class Cube(Function):
    """x^3, without a differentiable backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return x.detach() * x.detach() * x.detach()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * x * x * 3.0


class WrongCube(Cube):
    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved
        return dy * x * x * 2.9
