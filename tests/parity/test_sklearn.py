"""The scikit-learn estimators: scikit-learn's own checks, real data, and what the checks do not ask."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import dlcore as dl
from dlcore import nn
from dlcore.sklearn import DLClassifier, DLRegressor


@pytest.mark.parametrize("make", [DLClassifier, DLRegressor])
def test_scikit_learns_own_checks(make):
    done = check_estimator(make(), on_skip=None)
    assert sum(check["status"] == "passed" for check in done) > 45
    assert {
        c["check_name"] for c in done if c["status"] != "passed"
    } <= {  # what needs pandas or an environment variable
        "check_array_api_input",
        "check_classifier_data_not_an_array",
        "check_regressor_data_not_an_array",
    }


def test_wine():
    x, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), DLClassifier(random_state=0))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.95
    search = GridSearchCV(model, {"dlclassifier__hidden": [(), (16,)]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.95


def test_diabetes_as_good_as_linear_regression():
    x, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), DLRegressor(hidden=(), epochs=300, random_state=0))
    assert model.fit(x, y).score(x, y) == pytest.approx(0.518, abs=0.01)  # R² of least squares, which this approaches


def test_networks_of_ones_own():
    def normalised(features, outputs):
        return nn.Sequential(nn.Linear(features, 16), nn.LayerNorm(16), nn.Linear(16, outputs))

    x = np.random.default_rng(0).normal(size=(80, 3))
    y = np.stack([x[:, 0] - x[:, 1], 100 + 5 * x[:, 2]], axis=1)
    model = DLRegressor(module=normalised, epochs=200, random_state=1).fit(x, y)
    assert model.predict(x).shape == (80, 2) and model.score(x, y) > 0.98
    assert not model.module_.training


def test_state():
    x = np.random.default_rng(0).normal(size=(300, 3))
    y = np.array(["left", "right"])[(x[:, 0] > 0).astype(int)]
    dl.manual_seed(5)
    before = dl.get_rng_state()
    first = DLClassifier(epochs=5, dropout=0.2, random_state=3).fit(x, y)
    dl.manual_seed(6)
    second = DLClassifier(epochs=5, dropout=0.2, random_state=3).fit(x, y)
    assert dl.get_rng_state() != before
    assert np.array_equal(first.predict_proba(x), second.predict_proba(x))
    copied = pickle.loads(pickle.dumps(first))
    assert np.array_equal(copied.predict_proba(x), first.predict_proba(x)) and set(copied.predict(x)) == {
        "left",
        "right",
    }
    assert np.array_equal(first.predict_proba(x[7:8]), first.predict_proba(x)[7:8])  # whatever else is asked for


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, r"\[DLRegressor\] expected epochs >= 1, got 0"),
        ({"batch_size": 0}, r"\[DLRegressor\] expected batch_size >= 1, got 0"),
        ({"lr": 1e30}, r"\[DLRegressor\] the loss became (nan|inf) with lr=1e\+30; try a smaller one"),
        ({"activation": "step"}, r"expected activation to be one of"),
    ],
)
def test_errors(options, text):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=text):
        DLRegressor(**options).fit(x, x[:, 0])
