"""The confusion matrix, and what every metric that is computed from it shares.

Dimensions: `classes` the classes, along both axes of the matrix: the true ones first.
"""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.errors import ShapeError
from jaxnn.losses._shapes import check_range
from jaxnn.metrics._metric import Metric, one_number, whole_number, wide, zeros
from jaxnn.metrics._targets import check_answers, check_arrays, check_classes, labels, spread
from jaxnn.typing import Array, Scalar


@dataclass(frozen=True, repr=False)
class OfConfusion(Metric):
    """What is computed from a confusion matrix, which is its state.

    Either of two settings says how a prediction becomes a class.

    Attributes:
        threshold: A yes-or-no question is answered yes, class 1, where its score is above this: 0.5 for
            probabilities, 0 for logits. May be a tracer. Predictions and targets have one shape, any, and all
            their elements are counted alike; a target is yes above 1/2.
        classes: How many there are: the largest of `(..., classes)` logits or probabilities is the answer, and
            of equals the first. Targets are integer labels, `(...)`, or one-hot rows. A prediction of integers,
            `(...)`, is the answer itself. Answers and labels that are none of the classes are refused, and make the
            matrix NaN inside of a compiled program, where they cannot be seen.

    Raises:
        ValueError: There are both or neither, or fewer than two classes.
    """

    _: KW_ONLY
    threshold: Scalar | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.classes is None):
            raise ValueError(
                f"expected threshold= or classes= for {type(self).__name__}, because either says how a prediction "
                f"becomes a class; got {'neither' if self.classes is None else 'both'}"
            )
        if self.classes is not None:
            whole_number(self.classes, "classes", least=2, why="it counts the classes to choose from")
        else:
            one_number(self.threshold, "threshold")

    @property
    def size(self) -> int:
        """How many classes there are: 2 with a threshold."""
        return 2 if self.classes is None else self.classes

    def check(self, prediction, target):
        check_arrays(prediction=prediction, target=target)
        if self.classes is None:
            check_answers(prediction, target)
        elif jnp.issubdtype(prediction.dtype, jnp.integer):
            if prediction.shape != target.shape or not jnp.issubdtype(target.dtype, jnp.integer):
                raise ShapeError(
                    f"integer labels of shape {tuple(prediction.shape)}",
                    why="the predictions are integers, and so the answers themselves",
                    got=f"{target.dtype} of shape {tuple(target.shape)}",
                )
            for name, answers in (("answers", prediction), ("labels", target)):
                check_range(name, answers, 0, self.classes - 1, why=f"classes={self.classes}")
        elif prediction.ndim and prediction.shape[-1] != self.classes:
            raise ShapeError(
                f"prediction of shape (..., {self.classes})",
                why=f"classes={self.classes}",
                got=tuple(prediction.shape),
            )
        else:
            check_classes(prediction, target)

    def init(self) -> Array:
        return zeros(self.size, self.size)

    def update(self, state, prediction, target, weight=None) -> Array:
        self.check(prediction, target)
        answer, label, known = self._answers(jnp.asarray(prediction), jnp.asarray(target))
        w = spread(weight, label.shape)
        known &= (answer >= 0) & (answer < self.size) & (label >= 0) & (label < self.size)
        counted = known & (w != 0)
        # The batch by itself first: ones that are added to 2^24 one by one would all be lost.
        batch = jnp.zeros_like(state)
        batch = batch.at[jnp.where(counted, label, 0), jnp.where(counted, answer, 0)].add(jnp.where(counted, w, 0))
        return jnp.where((~known & (w != 0)).any(), jnp.nan, state + batch)

    def _answers(self, prediction, target):
        """The classes that are predicted and true, int32, and whether they are known: NaN is no answer."""
        if self.threshold is not None:
            score, t = wide(prediction), wide(target)
            yes = score > jnp.asarray(self.threshold, score.dtype)
            known = ~jnp.isnan(score) & (t >= 0) & (t <= 1)
            return yes.astype(jnp.int32), (t > 0.5).astype(jnp.int32), known
        if jnp.issubdtype(prediction.dtype, jnp.integer):
            return prediction.astype(jnp.int32), target.astype(jnp.int32), jnp.ones(target.shape, bool)
        known = ~jnp.isnan(prediction).any(-1)
        if not jnp.issubdtype(target.dtype, jnp.integer):
            known &= ~jnp.isnan(target).any(-1)
        return prediction.argmax(-1).astype(jnp.int32), labels(target), known


@final
@by_value
@dataclass(frozen=True, repr=False)
class ConfusionMatrix(OfConfusion):
    """Weight of the examples of each class that were taken for each, C_ij = sum_n w_n [label_n = i, answer_n = j].

    With a threshold C = ((true negatives, false positives), (false negatives, true positives)).

    Attributes:
        threshold: Yes above this: 0.5 for probabilities, 0 for logits.
        classes: Or how many there are to choose the largest from.

    >>> ConfusionMatrix(threshold=0.5)(jnp.array([0.9, 0.2, 0.8, 0.6]), jnp.array([1.0, 0.0, 0.0, 1.0]))
    Array([[1., 1.],
           [0., 2.]], dtype=float32)
    >>> ConfusionMatrix(classes=3)(jnp.array([[0.1, 0.7, 0.2]]), jnp.array([2]))
    Array([[0., 0., 0.],
           [0., 0., 0.],
           [0., 1., 0.]], dtype=float32)

    Source: Kohavi and Provost, "Glossary of terms" (1998); the axes are scikit-learn's.
    """

    def compute(self, state) -> Array:
        return state
