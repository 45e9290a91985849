"""Look-ups in a table, against NumPy's own indexing."""

import numpy as np

import dlcore as dl
from tests.opcases import Eps, Fails, OpCase, Rand, Sample


def embedding(indices, weight, padding_idx=None):
    return weight[indices]


def one_hot(indices, num_classes=-1):
    return np.eye(indices.max() + 1 if num_classes == -1 else num_classes, dtype=np.int64)[indices]


def words(shape, vocabulary, dtype="int64"):
    return Rand(shape, dtype, 0, vocabulary)


CASES = [
    OpCase(
        "embedding",
        op=dl.embedding,
        reference=embedding,
        samples=[
            *(Sample(words((3, 4), 11), (11, n)) for n in (1, 3, 7, 16, 17, 33, 65)),
            Sample(words((5,), 9, "int32"), (9, 6)),
            Sample(words((), 9), (9, 6)),
            Sample(words((2, 3, 2), 5), (5, 4)),
            Sample(words((40,), 5), (5, 4)),
            Sample(np.array([0, 1, 1, 3]), (4, 5)),
        ],
        edges=[Sample(words((0,), 5), (5, 4)), Sample(words((2, 0), 5), (5, 4)), Sample(words((3,), 5), (5, 0))],
        errors=[
            Fails(
                np.array([[1, 2, 3], [0, 7, 1]]),
                (5, 4),
                error=IndexError,
                text="[embedding] index 7 at position (1, 1) is out of range for num_embeddings 5",
            ),
            Fails(
                np.array([-1]), (5, 4), error=IndexError, text="[embedding] index -1 at position (0,) is out of range"
            ),
            Fails((3,), (5, 4), error=TypeError, text="[embedding] expected int64 or int32 indices, got float32"),
            Fails(
                words((3,), 5),
                (5,),
                text="[embedding] expected a weight of shape (num_embeddings, embedding_dim), got (5,)",
            ),
            Fails(
                words((3,), 5),
                (5, 4),
                padding_idx=5,
                text="[embedding] padding_idx 5 is out of range for num_embeddings 5",
            ),
        ],
        eps=Eps(forward=0, backward=40),  # a row adds up to 40 gradients
        exact=True,
        twice=True,
        big=[Sample(words((700,), 3000), (3000, 300)), Sample(words((40, 50), 20), (20, 70))],
        bench={
            "gpt2": Sample(words((8, 1024), 50257), (50257, 768)),
            "bytes": Sample(words((12, 64), 256), (256, 128)),
        },
        bytes=lambda indices, weight, **_: indices.nbytes + 2 * indices.size * weight.shape[1] * weight.itemsize,
    ),
    OpCase(
        "embedding:padding",
        op=dl.embedding,
        reference=embedding,
        # The padding row's gradient is zero by decree, not by its derivative: differences would disagree.
        samples=[Sample(words((3, 4), 5), Rand((5, 7), grad=False), padding_idx=p) for p in (0, 4, -1)],
        gradient=False,
        exact=True,
    ),
    OpCase(
        "one_hot",
        op=dl.one_hot,
        reference=one_hot,
        samples=[
            Sample(words((3, 4), 11), num_classes=11),
            Sample(words((5,), 9), num_classes=12),
            Sample(words((5,), 9)),
            Sample(words((), 9), num_classes=9),
        ],
        edges=[Sample(words((0,), 9), num_classes=9)],
        errors=[
            Fails(
                np.array([0, 3]),
                num_classes=3,
                error=IndexError,
                text="[one_hot] index 3 at position (1,) is out of range for num_classes 3",
            ),
            Fails(np.array([-1, 2]), error=IndexError, text="[one_hot] index -1 at position (0,)"),
            Fails(np.array([0, 1]), num_classes=0, text="[one_hot] num_classes must be positive or -1, got 0"),
            Fails(np.array([], np.int64), text="[one_hot] num_classes must be given for no indices, got shape (0,)"),
            Fails((3,), num_classes=3, error=TypeError, text="[one_hot] expected int64 or int32 indices, got float32"),
        ],
        gradient=False,
        exact=True,
    ),
]
