"""Gradients of distributions, expectations, shapes and errors. Values are compared with SciPy's in tests/parity."""

import math

import numpy as np
import pytest

import dlcore as dl
from dlcore import distributions, nn
from dlcore.autograd import gradcheck
from dlcore.distributions import (
    Bernoulli,
    Categorical,
    Laplace,
    MultivariateNormal,
    Normal,
    Uniform,
    expectation,
    kl_divergence,
)
from tests.distributions.common import LOC, MU, SCALE, SIGMA, close

DIFFERENTIABLE = {
    "normal": (lambda a, b, x: Normal(a, b.exp()).log_prob(x), [(3,), (3,), (4, 3)]),
    "normal cdf": (lambda a, b, x: Normal(a, b.exp()).cdf(x), [(3,), (3,), (4, 3)]),
    "laplace": (lambda a, b, x: Laplace(a, b.exp()).log_prob(x), [(3,), (3,), (4, 3)]),
    "laplace cdf": (lambda a, b, x: Laplace(a, b.exp()).cdf(x), [(3,), (3,), (4, 3)]),
    "uniform cdf": (lambda a, b, x: Uniform(a - 9, b + 9).cdf(x), [(3,), (3,), (4, 3)]),
    "multivariatenormal": (
        lambda a, m, x: MultivariateNormal(a, m @ m.T + dl.eye(3, dtype=m.dtype)).log_prob(x),
        [3, (3, 3), (4, 3)],
    ),
    "bernoulli": (lambda a: Bernoulli(logits=a).log_prob(dl.tensor([0.0, 1.0, 1.0])), [(2, 3)]),
    "bernoulli entropy": (lambda a: Bernoulli(logits=a).entropy(), [(3,)]),
    "categorical": (lambda a: Categorical(logits=a).log_prob([1, 0]), [(2, 3)]),
    "categorical entropy": (lambda a: Categorical(logits=a).entropy(), [(2, 3)]),
    "kl of normals": (lambda a, b, c, d: kl_divergence(Normal(a, b.exp()), Normal(c, d.exp())), [(3,)] * 4),
    "kl of categoricals": (lambda a, b: kl_divergence(Categorical(logits=a), Categorical(logits=b)), [(2, 3)] * 2),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name):
    f, shapes = DIFFERENTIABLE[name]
    rng = np.random.default_rng(4)
    assert gradcheck(f, [dl.tensor(rng.normal(size=s), requires_grad=True) for s in shapes])


def test_no_distribution_is_without_a_check():
    public = [value for name, value in vars(distributions).items() if isinstance(value, type) and name[0] != "_"]
    made = {c.__name__.lower() for c in public if issubclass(c, distributions.Distribution)}
    assert made - {"distribution"} <= {name.split()[0] for name in DIFFERENTIABLE}


def test_gradients_through_samples():
    """x = μ + σ z: dx/dμ = 1, dx/dσ = z; of a Laplace draw likewise; of L z the lower triangle of the outer product."""
    loc, scale = (dl.tensor(v, requires_grad=True) for v in (LOC, SCALE))
    for make in (Normal, Laplace):
        loc.grad = scale.grad = None
        x = make(loc, scale).rsample()
        x.sum().backward()
        close(loc.grad, np.ones(4))
        close(scale.grad, (np.asarray(x.detach()) - LOC) / SCALE, terms=np.abs(LOC) / SCALE)
    low, high = dl.tensor(0.0, requires_grad=True), dl.tensor(2.0, requires_grad=True)
    u = Uniform(low, high).rsample()
    u.backward()
    assert high.grad.item() == pytest.approx(u.item() / 2) and low.grad.item() == pytest.approx(1 - u.item() / 2)
    tril = dl.tensor(np.linalg.cholesky(SIGMA), requires_grad=True)
    x = MultivariateNormal(MU, scale_tril=tril).rsample(generator=dl.Generator(8))
    x.sum().backward()
    z = np.linalg.solve(np.linalg.cholesky(SIGMA), np.asarray(x.detach()) - MU)
    np.testing.assert_allclose(tril.grad.numpy(), np.tril(np.tile(z, (3, 1))), rtol=1e-13)
    assert not Normal(loc, scale).sample().requires_grad


def test_expectation_and_its_error():
    """Of 200 estimates about 95 % lie within 1.96 standard errors; at least 180 of them all but surely."""
    g = dl.Generator(0)
    normal = Normal(1.0, np.array(2.0))
    hits = 0
    for _ in range(200):
        value, error = expectation(normal, dl.square, 400, g)
        hits += abs(value.item() - 5) <= 1.96 * error.item()
    assert 180 <= hits <= 199
    mu = dl.tensor(1.0, dtype="float64", requires_grad=True)
    expectation(Normal(mu, 2.0), dl.square, 100_000, g).value.backward()
    assert mu.grad.item() == pytest.approx(2, abs=5 * 4 / math.sqrt(100_000))  # 2x has the standard deviation 4
    share = expectation(Categorical(dl.tensor([0.25, 0.75])), lambda k: k == 1, 10_000, g)
    assert share.value.item() == pytest.approx(0.75, abs=5 * share.standard_error.item())
    assert share.standard_error.item() == pytest.approx(math.sqrt(0.25 * 0.75 / 10_000), rel=0.05)


def test_plans():
    """A dry run, in which every number reads as zero, goes through."""

    class Encoder(nn.Module):
        def __init__(self):
            self.mean, self.scale = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            normal = Normal(self.mean(x), self.scale(x).exp())
            joint = MultivariateNormal(self.mean(x), scale_tril=dl.eye(3))
            chance = Bernoulli(logits=normal.rsample()).log_prob(dl.ones((5, 3)))
            return kl_divergence(normal, Normal(0.0, 1.0)).sum() + joint.log_prob(dl.zeros(3)).sum() + chance.sum()

    assert Encoder().plan(dl.ones((5, 4))).live > 0


def test_dtypes_and_shapes():
    assert Normal(0, 1).sample().dtype is dl.float32 and Normal(0, 1).sample().shape == ()
    assert Normal(0.1, dl.tensor([1.0], dtype="float64")).loc.item() == 0.1
    assert Normal([0.1, 0.2], dl.tensor(1.0, dtype="float64")).loc.tolist() == [0.1, 0.2]
    assert Normal(np.zeros(2), 1.0).log_prob(3).dtype is dl.float64
    assert Normal(dl.zeros((3, 1)), dl.ones(4)).sample((2,)).shape == (2, 3, 4)
    assert Normal(dl.zeros(2), 1.0).rsample(5).shape == (5, 2)
    assert repr(MultivariateNormal(MU, SIGMA)) == "MultivariateNormal(batch_shape=(), event_shape=(3,))"
    a, b = (Normal(0.0, 1.0).sample((4,), generator=dl.Generator(7)) for _ in range(2))
    assert a.tolist() == b.tolist()


BAD = [
    (lambda: Normal(0, -1), r"\[Normal\] expected a finite scale > 0, got -1$"),
    (lambda: Normal(0, [1.0, math.nan]), r"\[Normal\] expected a finite scale > 0, got nan at \(1,\)"),
    (lambda: Normal(math.inf, 1), r"\[Normal\] expected a finite loc, got inf"),
    (lambda: Laplace(0, 0), r"\[Laplace\] expected a finite scale > 0, got 0"),
    (
        lambda: Normal(dl.zeros(2), dl.ones(3)),
        r"\[Normal\] expected parameters that broadcast, got shapes loc \(2,\), sc",
    ),
    (lambda: Uniform(1, 1), r"\[Uniform\] expected finite low < high, got 0"),
    (
        lambda: Normal(dl.zeros(3), 1).log_prob(dl.zeros(2)),
        r"\[Normal\] expected values of event shape \(\) that broadcast",
    ),
    (
        lambda: MultivariateNormal([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
        r"\[MultivariateNormal\] expected a positive definite covariance_matrix, got one whose leading minor of",
    ),
    (
        lambda: MultivariateNormal([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]),
        r"\[MultivariateNormal\] expected a symmetric covariance_matrix, got 0.5 at \(0, 1\) and 0 at \(1, 0\)",
    ),
    (
        lambda: MultivariateNormal(MU, np.eye(2)),
        r"expected loc \(…, d\) and covariance_matrix \(…, d, d\), got shapes \(3,\) and \(2, 2\)",
    ),
    (lambda: MultivariateNormal(MU), r"\[MultivariateNormal\] expected either covariance_matrix or scale_tril"),
    (
        lambda: MultivariateNormal(MU, scale_tril=-np.eye(3)),
        r"expected a positive diagonal of scale_tril, got -1 at \(0,\)",
    ),
    (lambda: MultivariateNormal(MU, SIGMA).log_prob(dl.zeros(2)), r"expected values of event shape \(3,\)"),
    (lambda: Bernoulli(1.2), r"\[Bernoulli\] expected probabilities in \[0, 1\], got 1.2$"),
    (lambda: Bernoulli(), r"\[Bernoulli\] expected either probs or logits, got neither"),
    (lambda: Bernoulli(logits=math.nan), r"\[Bernoulli\] expected logits that are numbers, got nan"),
    (lambda: Bernoulli(0.5).log_prob(0.5), r"\[Bernoulli\] expected values 0 or 1, got 0.5"),
    (
        lambda: Categorical([0.5, 0.6]),
        r"\[Categorical\] expected probabilities that sum to 1 along dim -1, got a sum of 1.1",
    ),
    (lambda: Categorical([0.5, 0.5], [0.0, 0.0]), r"\[Categorical\] expected either probs or logits, got both"),
    (
        lambda: Categorical(logits=[-math.inf, -math.inf]),
        r"\[Categorical\] expected logits under infinity, one of each row",
    ),
    (lambda: Categorical(logits=1.0), r"\[Categorical\] expected a last dimension of categories, got shape \(\)"),
    (
        lambda: expectation(Normal(0, 1), dl.sum, 10),
        r"\[expectation\] expected f to keep the first dimension 10, got shape \(\)",
    ),
    (lambda: expectation(Normal(0, 1), dl.square, 1), r"\[expectation\] expected samples >= 2, got 1"),
    (
        lambda: kl_divergence(MultivariateNormal(MU, SIGMA), MultivariateNormal([0.0], [[1.0]])),
        r"\[kl_divergence\] expected distributions of one dimension, got 3 and 1",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD)
def test_bad_values(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_other_errors():
    with pytest.raises(IndexError, match=r"\[Categorical\] expected class indices from 0 to 1, got values from 0 to 2"):
        Categorical([0.5, 0.5]).log_prob([0, 2])
    with pytest.raises(TypeError, match=r"\[Categorical\] expected integer class indices, got dlcore.float32"):
        Categorical([0.5, 0.5]).log_prob(0.5)
    with pytest.raises(TypeError, match=r"\[Normal\] expected floating loc, got dlcore.int64 of shape \(3,\)"):
        Normal(dl.arange(3), 1)
    for call, text in (
        (lambda: Bernoulli(0.5).rsample(), r"\[Bernoulli\] discrete draws have no gradient"),
        (lambda: Categorical([1.0]).mean, r"\[Categorical\] mean is not defined for this distribution"),
        (
            lambda: kl_divergence(Normal(0, 1), Laplace(0, 1)),
            r"expected two distributions of one class, got Normal and Lap",
        ),
    ):
        with pytest.raises(NotImplementedError, match=text):
            call()
