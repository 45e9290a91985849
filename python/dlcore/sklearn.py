"""Networks as scikit-learn estimators: in pipelines, grid searches and cross-validation. Needs the extra "sklearn"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "[dlcore.sklearn] needs scikit-learn 1.6 or later: pip install 'dlcore-native[sklearn]'"
    ) from error

from dlcore import ops
from dlcore.models.mlp import MLP, MLPConfig
from dlcore.nn.module import Module
from dlcore.ops.random import get_rng_state, manual_seed, set_rng_state
from dlcore.optim import AdamW
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["DLClassifier", "DLRegressor"]

_PATIENCE = 10  # epochs without an improvement by tol
_ROWS = 256  # predicted at a time, always as many: a row's result does not depend on what else is asked for


class _Estimator(BaseEstimator):
    def __init__(
        self,
        hidden: tuple[int, ...] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        lr: float = 1e-2,
        weight_decay: float = 1e-4,
        epochs: int = 100,
        batch_size: int = 64,
        tol: float = 1e-4,
        module: Callable[[int, int], Module] | None = None,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.tol = tol
        self.module = module
        self.random_state = random_state

    def _build(self) -> Module:
        sizes = self.n_features_in_, self._outputs
        if self.module is not None:
            return self.module(*sizes)
        return MLP(MLPConfig(sizes[0], tuple(self.hidden), sizes[1], self.activation, self.dropout))

    def _train(self, x: np.ndarray, y: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"[{type(self).__name__}] expected {name} >= 1, got {getattr(self, name)}")
        random = check_random_state(self.random_state)
        inputs, rows, size = ops.tensor(x), len(x), min(self.batch_size, len(x))
        outside = get_rng_state()
        try:
            manual_seed(int(random.randint(2**31)))  # of the initial weights, and of dropout
            self.module_ = self._build()
            optimizer = AdamW(self.module_.parameters(), lr=self.lr, weight_decay=self.weight_decay)
            self.loss_curve_: list[float] = []
            best, since = math.inf, 0
            for _ in range(self.epochs):
                order, total = ops.asarray(random.permutation(rows)), 0.0
                for begin in range(0, rows, size):
                    chosen = order[begin : begin + size]
                    loss = loss_of(self.module_(inputs[chosen]), y[chosen])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += loss.item() * chosen.shape[0]
                self.loss_curve_.append(total / rows)
                if not math.isfinite(total):
                    raise ValueError(
                        f"[{type(self).__name__}] the loss became {total} with lr={self.lr}; try a smaller one"
                    )
                since = 0 if total / rows < best - self.tol else since + 1
                best = min(best, total / rows)
                if since >= _PATIENCE:
                    break
        finally:
            set_rng_state(outside)
        self.module_.eval()

    def _outputs_of(self, X: Any) -> Tensor:
        check_is_fitted(self, "module_")
        x = validate_data(self, X, dtype=np.float32, reset=False)
        padded = np.zeros((-(-len(x) // _ROWS) * _ROWS, x.shape[1]), np.float32)
        padded[: len(x)] = x
        with no_grad():
            blocks = [self.module_(ops.asarray(padded[i : i + _ROWS])) for i in range(0, len(padded), _ROWS)]
            return ops.cat(blocks)[: len(x)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "module_" in state:  # tensors are not pickled, arrays are
            state["module_"] = {k: v.detach().numpy().copy() for k, v in self.module_.state_dict().items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "module_" in state:
            weights = state["module_"]
            self.module_ = self._build()
            self.module_.load_state_dict({k: ops.tensor(v) for k, v in weights.items()})
            self.module_.eval()


class DLClassifier(ClassifierMixin, _Estimator):
    """A network that classifies, trained with cross-entropy by AdamW.

    ::

        make_pipeline(StandardScaler(), DLClassifier(hidden=(128, 64))).fit(x, y).score(x_test, y_test)

    Args:
        hidden, activation, dropout: of the network, see `models.MLPConfig`.
        lr, weight_decay: of AdamW.
        epochs: passes over the data, at most.
        batch_size: rows a step.
        tol: training ends when the loss has not fallen by this for 10 epochs.
        module: makes another network from the numbers of features and of outputs, instead of the MLP.
        random_state: as everywhere in scikit-learn; dlcore's own generator stays as it is.

    Attributes:
        module_: the network. Pickling keeps its weights as arrays.
        classes_: the labels, in the order of the outputs.
        loss_curve_: the mean loss of each epoch.

    Raises:
        ValueError: bad data, as scikit-learn says it; epochs or batch_size < 1; a loss that is not finite.
    """

    def fit(self, X: Any, y: Any) -> DLClassifier:
        """Trains a new network on X (N, features) and labels y (N,)."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._outputs = len(self.classes_)
        self._train(X, ops.tensor(labels.astype(np.int64)), ops.cross_entropy)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, classes)."""
        return ops.softmax(self._outputs_of(X), -1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row."""
        best = self._outputs_of(X).argmax(1).numpy()
        return self.classes_[best]


class DLRegressor(RegressorMixin, _Estimator):
    """A network that predicts numbers, trained with the squared error by AdamW on targets brought to mean 0 and
    deviation 1.

    Args, Attributes, Raises: as for `DLClassifier`, but for `classes_`; y may have several columns.
    """

    def fit(self, X: Any, y: Any) -> DLRegressor:
        """Trains a new network on X (N, features) and y (N,) or (N, outputs)."""
        X, y = validate_data(self, X, y, dtype=np.float32, multi_output=True, y_numeric=True)
        y = np.asarray(y, np.float64)
        self._flat = y.ndim == 1
        columns = y.reshape(len(y), -1)
        self._shift, spread = columns.mean(0), columns.std(0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._outputs = columns.shape[1]
        self._train(X, ops.tensor(((columns - self._shift) / self._scale).astype(np.float32)), ops.mse_loss)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The predictions, in the shape that y had."""
        y = self._outputs_of(X).numpy() * self._scale + self._shift
        return y[:, 0] if self._flat else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
