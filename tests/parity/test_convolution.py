"""Convolutions of drawn shapes and options against PyTorch: outputs and all three gradients. Small whole numbers, so
that every sum is exact and has to be equal."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dlcore as dl
from dlcore.nn import functional as F

FUNCTIONS = [(n, False) for n in (1, 2, 3)] + [(n, True) for n in (1, 2)]


@st.composite
def calls(draw):
    n, transposed = draw(st.sampled_from(FUNCTIONS))
    each = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(n))  # noqa: E731
    groups, kernel, stride, dilation = draw(st.integers(1, 3)), each(1, 4), each(1, 3), each(1, 3)
    if draw(st.booleans()):  # depthwise
        groups, channels = groups * 2, (groups * 2, groups * 2 * draw(st.integers(1, 2)))
    else:
        channels = tuple(groups * draw(st.integers(1, 5)) for _ in range(2))
    padding, options = each(0, 2), {"groups": groups, "stride": stride, "dilation": dilation}
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if transposed:
        padding = tuple(min(p, (s - 1) // 2) for p, s in zip(padding, spans, strict=True))
        options["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        size = each(1, 6)
    else:
        size = tuple(max(1, s - 2 * p) + draw(st.integers(0, 9)) for s, p in zip(spans, padding, strict=True))
    weight = (channels[0], channels[1] // groups) if transposed else (channels[1], channels[0] // groups)
    name = f"conv_transpose{n}d" if transposed else f"conv{n}d"
    return (
        name,
        (draw(st.integers(1, 3)), channels[0], *size),
        (*weight, *kernel),
        channels[1],
        {**options, "padding": padding},
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(calls())
def test_exact(call):
    name, x, w, made, options = call
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-3, 4, shape).astype(np.float32) for shape in (x, w, (made,))]
    ours = [dl.tensor(a).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, expected = getattr(F, name)(*ours, **options), getattr(torch.nn.functional, name)(*theirs, **options)
    assert np.array_equal(y.numpy(), expected.detach().numpy()), f"{call}: outputs"
    dy = rng.integers(-3, 4, expected.shape).astype(np.float32)
    y.backward(dl.tensor(dy))
    expected.backward(torch.from_numpy(dy))
    for what, a, b in zip(("x", "weight", "bias"), ours, theirs, strict=True):
        assert np.array_equal(a.grad.numpy(), b.grad.numpy()), f"{call}: gradient of {what}"
