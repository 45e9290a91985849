"""A small network learns the same on the device as on the CPU."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn, optim


class Model(nn.Module):
    """Embedding, layer norm, two linear layers, and the loss: a language model without attention."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, vocabulary)

    def forward(self, tokens):
        return self.down(dl.gelu(self.up(self.norm(self.embedding(tokens)))))


def losses(device, steps, optimizer):
    dl.manual_seed(0)
    model = Model(17, 16).to(device)
    steps_of = optimizer(model.parameters())
    rng = np.random.default_rng(0)
    out = []
    for _ in range(steps):
        tokens = dl.tensor(rng.integers(0, 17, (6, 5)), device=device)
        logits = model(tokens)
        loss = dl.cross_entropy(logits.reshape(-1, 17), tokens.reshape(-1))
        steps_of.zero_grad()
        loss.backward()
        steps_of.step(max_norm=1.0)
        out.append(loss.item())
    return out


OPTIMIZERS = {
    "adamw": lambda p: optim.AdamW(p, lr=1e-2),
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_same_losses_as_on_the_cpu(optimizer):
    here, there = losses("cpu", 12, optimizer), losses("cuda", 12, optimizer)
    assert here[-1] < here[0]
    np.testing.assert_allclose(there, here, rtol=1e-4)
