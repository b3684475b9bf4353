"""A penalty of parameters chosen by name: a pair that is added on either road, and never hidden in a loss."""

import re
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from jaxnn import tree
from jaxnn.losses._penalties import check_strengths, elastic_net_penalty, soft_threshold
from jaxnn.ops._op import Op
from jaxnn.typing import Array, Params, Residuals, Scalar, Schedule, accumulator_dtype

WEIGHTS = ("(.*/)?w",)
"""The names of weights: not those of biases (`b`), of norms (`scale`, `offset`), or of embeddings (`table`)."""


@final
@dataclass(frozen=True, eq=False)
class Penalty:
    """The penalty l1 sum |w| + l2 sum w^2 of those parameters that are chosen by name.

    ========================================  ===================================================================
    `penalty(params)`                         the value
    `fwd(params) -> (value, residuals)`       the pair of an op, on the tree of parameters: leaves that are not
    `bwd(residuals, d_value) -> d_params`     chosen have a gradient of 0, and frozen ones, which are `None`, none
    `proximal_step(params, learning_rate)`    what a step of descent on it would be, but with exact zeros
    `proximal(learning_rate)`                 that step as the last part of an optimizer
    ========================================  ===================================================================

    It enters training on either road by `with_penalty`, and is part of no loss: what is evaluated is without it.

    Attributes:
        l1: Strength of the absolute values, at least 0.
        l2: Strength of the squares, at least 0.
        leaves: Regular expressions for the whole names of the parameters, as `freeze` has them. By default all
            weights (`w`), and neither biases nor scales and offsets of norms.

    >>> import jaxnn as nn
    >>> penalty = Penalty(l2=0.1)
    >>> penalty({"dense_0": {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array([5.0])}})
    Array(1.4, dtype=float32)
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1), gradient=nn.with_penalty(nn.by_hand, penalty))
    """

    l1: Scalar = 0.0
    l2: Scalar = 0.0
    leaves: tuple[str, ...] | str = WEIGHTS

    def __post_init__(self):
        check_strengths(None, l1=self.l1, l2=self.l2)

    @property
    def op(self) -> Op:
        """The penalty of one leaf."""
        return elastic_net_penalty.bind(l1=self.l1, l2=self.l2)

    def __call__(self, params: Params) -> Float[Array, ""]:
        """Return the penalty of parameters.

        Raises:
            ValueError: A pattern of `leaves` matches no parameter.
        """
        return self.fwd(params)[0]

    def fwd(self, params: Params, frozen: Params | None = None) -> tuple[Float[Array, ""], Residuals]:
        """Return the penalty, and as what is remembered the parameters.

        Args:
            params: Leaves that count; `None` where one is frozen.
            frozen: The other leaves, only for their names, which may be chosen as well.

        Raises:
            ValueError: A pattern of `leaves` matches no parameter, frozen or not.
        """
        tree.mask(tree.merge(params, frozen or {}), self._patterns)
        chosen = [w for name, w in tree.named_leaves(params).items() if self._chooses(name)]
        costs = [self.op.plain(w.astype(accumulator_dtype(w.dtype))) for w in chosen]
        widest = max((cost.dtype for cost in costs), key=lambda d: d.itemsize, default=jnp.float32)
        total = sum((cost.astype(widest) for cost in costs), jnp.zeros((), widest))
        return total, params

    def bwd(self, residuals: Residuals, d_value: Float[Array, ""]) -> Params:
        """Return the gradient, like the parameters: dw = d (l1 sign(w) + 2 l2 w), and 0 of what is not chosen."""

        def gradient(name, w):
            return self.op.bwd(w, d_value.astype(w.dtype))[0] if self._chooses(name) else jnp.zeros_like(w)

        return tree.map_named(gradient, residuals)

    def proximal_step(self, params: Params, learning_rate: Scalar) -> Params:
        """Return the parameters v that make (v - w)^2 / 2 + learning_rate times the penalty of v least.

        v = soft_threshold(w, learning_rate l1) / (1 + 2 learning_rate l2), of which many are exactly 0.

        >>> Penalty(l1=1.0).proximal_step({"w": jnp.array([0.05, 0.5]), "b": jnp.array([0.05])}, 0.1)
        {'b': Array([0.05], dtype=float32), 'w': Array([0. , 0.4], dtype=float32)}
        """
        tree.mask(params, self._patterns)

        def step(name, w):
            if not self._chooses(name):
                return w
            rate, l1, l2 = (jnp.asarray(a, w.dtype) for a in (learning_rate, self.l1, self.l2))
            return soft_threshold(w, threshold=rate * l1) / (1 + 2 * rate * l2)

        return tree.map_named(step, params)

    def proximal(self, learning_rate: Scalar | Schedule) -> optax.GradientTransformation:
        """Return what makes any optimizer before it one with this penalty and exact zeros: proximal gradient descent.

        The updates so far are taken, then the proximal step. It replaces `with_penalty`.

        Args:
            learning_rate: That of the optimizer, or its schedule.

        >>> import jaxnn as nn
        >>> optimizer = nn.optim.chain(nn.sgd(0.1), Penalty(l1=1.0).proximal(0.1))
        >>> params, grads = {"w": jnp.array([0.05, 1.0])}, {"w": jnp.array([0.0, 0.0])}
        >>> updates, state = optimizer.update(grads, optimizer.init(params), params)
        >>> nn.optim.apply_updates(params, updates)["w"]
        Array([0. , 0.9], dtype=float32)

        Source: Parikh and Boyd, "Proximal algorithms" (2014).
        """

        def init(params):
            del params
            return jnp.zeros((), jnp.int32)

        def update(updates, state, params=None):
            if params is None:
                raise ValueError("expected the parameters, because they are moved towards 0; got None\n"
                                 "  hint: optimizer.update(grads, state, params)")  # fmt: skip
            rate = learning_rate(state) if callable(learning_rate) else learning_rate
            ahead: Any = optax.apply_updates(params, updates)
            moved = self.proximal_step(ahead, rate)
            return jax.tree.map(lambda new, old: new - old, moved, params), state + 1

        return optax.GradientTransformation(init, update)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same penalty of the same leaves; arrays are the same if they are one."""
        return isinstance(other, Penalty) and (self.op, self._patterns) == (other.op, other._patterns)

    def __hash__(self) -> int:
        return hash((self.op, self._patterns))

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (self.leaves,) if isinstance(self.leaves, str) else tuple(self.leaves)

    def _chooses(self, name: str) -> bool:
        return any(re.fullmatch(p, name) for p in self._patterns)
