"""Matrix products against NumPy in float64.

Each addition of a running sum rounds by at most eps * |partial sum|. Over K terms of one size the partial sums add up
to K / 2 times the sum of |a b|: that is the magnitude here, in units that allow 4 up to K = 8.
"""

from math import erf

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample

inf, nan = float("inf"), float("nan")
EPS = Eps(forward=4, backward=24)

# M, N, K around the register tiles (4, 6, 12, 14 rows; 4 to 64 columns), and each way to run: dot products (few rows or
# columns, K long), in place, packed.
SIZES = [
    (1, 1, 1),
    (1, 17, 3),
    (2, 3, 70),
    (5, 8, 1),
    (6, 16, 9),
    (7, 33, 17),
    (13, 31, 5),
    (14, 32, 16),
    (15, 65, 33),
    (8, 12, 130),
    (30, 4, 131),
    (9, 130, 70),
    (33, 47, 29),
    (64, 1, 65),
    (1, 100, 67),
    (61, 150, 300),
]


def of_terms(a, b):
    """sum |a b|, times how much longer than 8 the sum is."""
    return np.matmul(np.abs(a), np.abs(b)) * max(1.0, a.shape[-1] / 8)


def flops(a, b):
    return 2.0 * np.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * a.shape[-2] * a.shape[-1] * b.shape[-1]


def nbytes(a, b):
    return a.nbytes + b.nbytes + flops(a, b) / (2 * a.shape[-1]) * a.itemsize


def variant(name, op, reference, samples, **options):
    defaults = {"eps": EPS, "twice": True, "same_in_any_layout": False, "magnitude": of_terms}
    return OpCase(name, op=op, reference=reference, samples=samples, **{**defaults, **options})


def swapped(shape):
    return (*shape[:-2], shape[-1], shape[-2])


def transposed(name, left, right):
    """Operands that are transposed views: every way the kernel can find them in memory."""

    def turn(a, b):
        return np.swapaxes(a, -1, -2) if left else a, np.swapaxes(b, -1, -2) if right else b

    def sample(m, n, k, *batch):
        a, b = (*batch, m, k), (*batch, k, n)
        return Sample(swapped(a) if left else a, swapped(b) if right else b)

    return variant(
        f"matmul:{name}",
        lambda a, b: dl.matmul(a.mT if left else a, b.mT if right else b),
        lambda a, b: np.matmul(*turn(a, b)),
        [sample(*s) for s in SIZES[::2]] + [sample(5, 18, 20, 3)],
        big=[sample(*s) for s in ((350, 150, 270), (3, 20, 40000), (20, 3, 600))],
        magnitude=lambda a, b: of_terms(*turn(a, b)),
        bench={name: sample(512, 512, 512)},
        flops=lambda a, b: flops(*turn(a, b)),
        bytes=lambda a, b: nbytes(*turn(a, b)),
    )


def whole_numbers(*shape, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, shape)


def exact_sample(m, n, k, dtype):
    return Sample(whole_numbers(m, k), whole_numbers(k, n, seed=1), dtype=dtype)


def with_one(value, shape, at):
    x = np.ones(shape, np.float32)
    x[at] = value
    return x


GPT = {
    "gpt2_qkv": ((512, 768), (768, 2304)),
    "gpt2_mlp_up": ((512, 768), (768, 3072)),
    "gpt2_mlp_down": ((512, 3072), (3072, 768)),
    "gpt2_logits": ((128, 768), (768, 50257)),
    "gpt2_decode": ((1, 768), (768, 3072)),
    "gpt2_decode_8": ((8, 768), (768, 3072)),
    "attention_scores": ((96, 64, 64), (96, 64, 64)),
    "nano_mlp": ((768, 128), (128, 512)),
    **{f"square_{n}": ((n, n), (n, n)) for n in (64, 128, 256, 512, 1024)},
}

MATMUL = variant(
    "matmul",
    dl.matmul,
    np.matmul,
    [Sample((m, k), (k, n)) for m, n, k in SIZES]
    + [
        Sample(*s)
        for s in [
            ((5,), (5,)),
            ((5,), (5, 3)),
            ((4, 5), (5,)),
            ((2, 4, 5), (5,)),
            ((5,), (2, 5, 3)),
            ((70,), (70,)),
            ((3, 4, 5), (3, 5, 6)),
            ((2, 3, 4, 5), (5, 6)),
            ((4, 5), (3, 5, 6)),
            ((3, 4, 5), (2, 1, 5, 6)),
            ((1, 4, 5), (3, 5, 6)),
            ((2, 1, 3, 17), (1, 4, 17, 2)),
            ((2, 3, 1, 40), (40, 70)),
        ]
    ],
    edges=[
        *(
            Sample(*s)
            for s in [((0, 5), (5, 3)), ((4, 0), (0, 3)), ((2, 0, 3), (3, 4)), ((0, 3, 4), (4, 2)), ((0,), (0,))]
        ),
        Sample(with_one(inf, (3, 20), (1, 2)), with_one(1, (20, 18), (0, 0))),
        Sample(with_one(nan, (3, 70), (0, 69)), with_one(1, (70, 5), (0, 0))),
        Sample(with_one(inf, (9, 70), (0, 3)), with_one(0, (70, 20), (3, 19))),
        Sample(with_one(inf, (20, 70), (0, 3)), with_one(-inf, (70, 3), (3, 1))),
        Sample(np.full((2, 3), 1e38, np.float32), np.full((3, 2), 10, np.float32)),
    ],
    errors=[
        Fails(
            (2, 3), (4, 5), text="to equal the last size but one of the second, got 3 and 4 (shapes (2, 3) and (4, 5))"
        ),
        Fails((2, 3), (4,), text="to equal the size of the second, got 3 and 4 (shapes (2, 3) and (4,))"),
        Fails((), (3,), text="[matmul] expected operands of at least one dimension, got shapes () and (3,)"),
        Fails((2, 3, 4), (3, 4, 5), text="[matmul] the batch dimensions (2,) and (3,) do not broadcast"),
        Fails(Rand((2, 3), "bool"), Rand((3, 2), "bool"), error=TypeError, text="[matmul] expected numbers, got bool"),
        Fails((2, 3), 2.0, error=TypeError, text="[matmul] expected two tensors, got Tensor and float"),
    ],
    big=[
        Sample(*s)
        for s in [
            ((400, 300), (300, 170)),
            ((5, 60, 70), (5, 70, 90)),
            ((6, 40000), (40000, 20)),
            ((1, 700), (700, 900)),
        ]
    ],
    bench={name: Sample(*shapes) for name, shapes in GPT.items()},
    flops=flops,
    bytes=nbytes,
)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(erf, otypes=[float])(x / 2**0.5))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


ACTIVATIONS = {None: lambda x: x, "relu": lambda x: np.maximum(x, 0), "gelu": gelu, "gelu_tanh": gelu_tanh}


def linear64(x, w, b=None, activation=None):
    y = x @ w.T
    return ACTIVATIONS[activation](y if b is None else y + b)


def of_linear(x, w, b=None, activation=None):
    # An activation's slope is at most 1.13.
    return of_terms(x, w.T) + (0 if b is None else np.abs(b))


def linear_case(activation, **options):
    kwargs = {"activation": activation} if activation else {}
    shapes = [
        ((5, 3), (4, 3)),
        ((2, 3, 17), (33, 17)),
        ((7,), (5, 7)),
        ((3, 70), (9, 70)),
        ((40, 20), (70, 20)),
        ((1, 1), (1, 1)),
    ]
    return OpCase(
        f"linear:{activation}" if activation else "linear",
        op=dl.linear,
        reference=linear64,
        samples=[Sample(x, w, (w[0],), **kwargs) for x, w in shapes] + [Sample(*shapes[1], **kwargs)],
        big=[Sample((400, 300), (170, 300), (170,), **kwargs), Sample((3, 800), (900, 800), (900,), **kwargs)],
        magnitude=of_linear,
        eps=EPS,
        same_in_any_layout=False,
        twice=True,
        bench={f"gpt2_mlp_up_{activation or 'bias'}": Sample((512, 768), (3072, 768), (3072,), **kwargs)},
        flops=lambda x, w, b, **_: 2.0 * x.size * w.shape[0],
        bytes=lambda x, w, b, **_: x.nbytes + w.nbytes + b.nbytes + 4.0 * x.shape[0] * w.shape[0],
        **options,
    )


CASES = [
    MATMUL,
    transposed("tn", True, False),
    transposed("nt", False, True),
    transposed("tt", True, True),
    OpCase(
        "matmul:exact",
        op=lambda a, b, dtype: dl.matmul(dl.cast(a, getattr(dl, dtype)), dl.cast(b, getattr(dl, dtype))),
        reference=lambda a, b, dtype: np.matmul(a, b).astype("float64"),
        samples=[
            exact_sample(*s, d)
            for s in (*SIZES, (200, 333, 257), (400, 40, 600), (2, 3, 30000))
            for d in ("float32", "float64")
        ]
        + [exact_sample(*s, "bfloat16") for s in SIZES if s[2] <= 16],
        gradient=False,
        exact=True,
        output_dtype=lambda a, b, dtype: dtype,
    ),
    OpCase(
        "matmul:integer",
        op=dl.matmul,
        reference=np.matmul,
        samples=[Sample(Rand((5, 7), d, 0, 200), Rand((7, 3), d, 0, 200)) for d in ("int64", "int32", "uint8")]
        + [Sample(Rand((2, 40, 30), d, 0, 99), Rand((30, 600), d, 0, 99)) for d in ("int64", "int32", "uint8")]
        + [
            Sample(Rand((4, 3), "int64", -9, 9), Rand((3,), "int64", -9, 9)),
            Sample(Rand((0, 3), "int32"), Rand((3, 2), "int32")),
        ],
        gradient=False,
        exact=True,
    ),
    OpCase(
        "matmul:mixed",
        op=dl.matmul,
        reference=np.matmul,
        samples=[Sample((5, 7), Rand((7, 3), d, 0, 9)) for d in ("int64", "uint8")],
        magnitude=of_terms,
        eps=EPS,
        same_in_any_layout=False,
    ),
    variant(
        "mm",
        dl.mm,
        np.matmul,
        [Sample((4, 5), (5, 3))],
        errors=[Fails((2, 3, 4), (4, 5), text="[mm] expected a matrix of 2 dimensions, got shape (2, 3, 4)")],
    ),
    variant(
        "bmm",
        dl.bmm,
        np.matmul,
        [Sample((3, 4, 5), (3, 5, 2))],
        errors=[
            Fails((2, 3, 4), (3, 4, 5), text="expected two stacks of one length, got shapes (2, 3, 4) and (3, 4, 5)"),
            Fails((3, 4), (3, 4, 5), text="[bmm] expected a stack of matrices of 3 dimensions, got shape (3, 4)"),
        ],
    ),
    variant(
        "mv",
        dl.mv,
        np.matmul,
        [Sample((4, 5), (5,)), Sample((70, 90), (90,))],
        errors=[Fails((4, 5), (5, 1), text="[mv] expected a vector of 1 dimension, got shape (5, 1)")],
    ),
    variant(
        "dot",
        dl.dot,
        np.matmul,
        [Sample((5,), (5,)), Sample((200,), (200,))],
        edges=[Sample((0,), (0,))],
        errors=[Fails((5,), (6,), text="got 5 and 6")],
    ),
    variant(
        "outer",
        dl.outer,
        np.outer,
        [Sample((5,), (3,)), Sample((1,), (40,))],
        edges=[Sample((0,), (3,))],
        magnitude=lambda a, b: np.outer(np.abs(a), np.abs(b)),
        errors=[Fails((2, 3), (3,), text="[outer] expected a vector of 1 dimension, got shape (2, 3)")],
    ),
    variant(
        "addmm",
        dl.addmm,
        lambda x, a, b, beta=1, alpha=1: (beta * x if beta else 0) + alpha * (a @ b),
        [
            Sample((4, 3), (4, 5), (5, 3)),
            Sample((3,), (4, 5), (5, 3)),
            Sample((4, 1), (4, 5), (5, 3), beta=0.5, alpha=-2.0),
        ],
        edges=[Sample(np.full((3,), nan, np.float32), (4, 5), (5, 3), beta=0)],
        magnitude=lambda x, a, b, beta=1, alpha=1: (np.abs(beta * x) if beta else 0) + np.abs(alpha) * of_terms(a, b),
    ),
    linear_case(
        None,
        edges=[Sample((0, 3), (4, 3), (4,)), Sample((5, 0), (4, 0), (4,)), Sample((2, 3), (0, 3), (0,))],
        errors=[
            Fails(
                (8, 128, 384),
                (2304, 768),
                text="[linear] expected last dimension 768, got 384 (input (8, 128, 384), weight",
            ),
            Fails((2, 3), (3,), text="[linear] expected a weight of shape (out, in), got (3,)"),
            Fails((2, 3), (4, 3), (5,), text="[linear] expected a bias of shape (4,), got (5,) (weight (4, 3))"),
            Fails(
                (2, 3), (4, 3), activation="tanh", text="expected activation 'relu', 'gelu' or 'gelu_tanh', got 'tanh'"
            ),
            Fails(
                (2, 3),
                Rand((4, 3), "float64"),
                error=TypeError,
                text="[linear] expected one dtype, got input float32, weight float64",
            ),
            Fails(
                Rand((2, 3), "int64"),
                Rand((4, 3), "int64"),
                error=TypeError,
                text="[linear] expected a floating dtype, got int64",
            ),
            Fails((), (4, 3), text="[linear] expected last dimension 3, got none"),
        ],
    ),
    *(linear_case(a) for a in ("relu", "gelu", "gelu_tanh")),
    OpCase(
        "einsum",
        op=dl.einsum,
        reference=np.einsum,
        samples=[
            Sample(equation, *shapes)
            for equation, *shapes in [
                ("ij,jk->ik", (3, 4), (4, 5)),
                ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
                ("ij,jk", (3, 4), (4, 5)),
                ("bhtd,bhsd->bhts", (2, 3, 4, 5), (2, 3, 6, 5)),
                ("i,j->ij", (3,), (4,)),
                ("i,i->", (5,), (5,)),
                ("ij->ji", (3, 4)),
                ("ij->j", (3, 4)),
                ("ij->", (3, 4)),
                ("ij,kj->ik", (3, 4), (5, 4)),
                ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
                ("...ij,...jk->...ik", (2, 1, 3, 4), (6, 4, 5)),
                ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
                ("bn,anm,bm->ba", (2, 3), (4, 3, 5), (2, 5)),
                ("i...->...", (3, 2)),
                ("ij,ij->ij", (3, 4), (3, 4)),
                ("ijk,ik->", (2, 3, 4), (2, 4)),
            ]
        ],
        edges=[Sample("ij,jk->ik", (3, 0), (0, 2)), Sample("ij,jk->ik", (0, 3), (3, 2))],
        errors=[
            Fails(
                "ij,jk->ik", (3, 4), (5, 6), text="index 'j' of 'ij,jk->ik' has sizes 4 and 5 (shapes (3, 4), (5, 6))"
            ),
            Fails("ij,jk->ik", (3, 4), text="[einsum] 'ij,jk->ik' names 2 operands, got 1"),
            Fails("ii->i", (3, 3), text="[einsum] expected distinct letters"),
            Fails("ij->ik", (3, 3), text="[einsum] the result 'ik' of 'ij->ik' must have distinct indices"),
            Fails("ijk->i", (3, 3), text="[einsum] 'ijk' of 'ijk->i' does not fit an operand of shape (3, 3)"),
        ],
        magnitude=lambda equation, *x: np.einsum(equation, *map(np.abs, x)),
        # Three operands round three times, and bfloat16 in between.
        eps=Eps(forward=12, backward=32),
        twice=True,
        same_in_any_layout=False,
    ),
]
