"""The MLP reads scikit-learn's digits: at least 97 % of those it has not seen."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dlcore as dl
from dlcore import optim
from dlcore.models import MLP, MLPConfig
from dlcore.nn import functional as F


def test_digits():
    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels / 16, labels, test_size=0.25, stratify=labels, random_state=0)
    x, x_test, y, y_test = (
        dl.tensor(part).to(t) for part, t in zip(split, ["float32"] * 2 + ["int64"] * 2, strict=True)
    )
    dl.manual_seed(0)
    model = MLP(MLPConfig(64, (128,), 10, dropout=0.2))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        for batch in dl.randperm(len(x))[:1344].reshape(-1, 64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    accuracy = (model.eval()(x_test).argmax(1) == y_test).float().mean().item()
    assert accuracy >= 0.97, accuracy
