"""The same bits for 1, 2 and 5 threads, and run after run: forward and gradients."""

import dlcore as dl
from tests.ops.walk import Call, bits, cotangents, differentiable_outputs, each_case, outputs_of, some


def fingerprint(call):
    """Bytes of every output and gradient."""
    tensors = [t.requires_grad_() if g else t for t, g in zip(call.tensors(), call.grads, strict=True)]
    result = call.run(tensors)
    prints = [bits(y) for y in outputs_of(result)]
    outputs = differentiable_outputs(result)
    if outputs:
        leaves = [t for t, g in zip(tensors, call.grads, strict=True) if g]
        grads = dl.grad(outputs, leaves, cotangents(outputs, outputs[0].dtype.name), allow_unused=True)
        prints += [bits(g) for g in grads]
    return prints


@each_case
def test_determinism(case):
    dtypes = [d for d in ("float32", "bfloat16") if d in case.dtypes] or list(case.dtypes)
    calls = [Call(case, s, d) for d in dtypes for s in (*some(case.samples, 4), *case.big)]
    first = None
    for threads in (1, 2, 5, 5):
        dl.set_num_threads(threads)
        prints = [fingerprint(c) for c in calls]
        first = first or prints
        for call, a, b in zip(calls, first, prints, strict=True):
            assert a == b, f"{call}: other bits with {threads} threads"
