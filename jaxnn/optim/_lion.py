"""Lion: the sign of a running mean of gradients."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule


class ScaleByLionState(NamedTuple):
    """State of `scale_by_lion`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters


def scale_by_lion(
    b1: Scalar = 0.9,
    b2: Scalar = 0.99,
    mu_dtype: Any = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: Scalar = 1.0,
) -> Optimizer:
    """Move every parameter by 1, in the direction of a mean in which the newest gradient counts for more.

    direction = sign(b1 m + (1 - b1) g), and then m <- b2 m + (1 - b2) g. Where the mean is 0, so is the direction.

    Args:
        b1: Weight of the mean in the direction, beta_1; by the sign, no derivative by it is other than 0.
        b2: Decay of the mean, beta_2.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        mode: `"hard"` for the sign, `"smooth"` for tanh(smooth_beta x), `"refined"` for x between -1 and 1 and the
            sign beyond.
        smooth_beta: The slope of `"smooth"` at 0; no other mode looks at it.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, `smooth_beta` one below 0, or `mode` is
            none of the three.

    >>> t = scale_by_lion()
    >>> t.update(jnp.array([4.0, -0.1, 0.0]), t.init(jnp.zeros(3)))[0]
    Array([ 1., -1.,  0.], dtype=float32)

    Source: Chen et al., "Symbolic discovery of optimization algorithms" (2023).
    """
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it is a slope along the mean", smooth_beta=smooth_beta)
    bends: dict[str, Callable[[Array], Array]] = {
        "hard": jnp.sign,
        "smooth": lambda x: jnp.tanh(jnp.asarray(smooth_beta, x.dtype) * x),
        "refined": lambda x: jnp.clip(x, -1, 1),
    }
    if mode not in bends:
        raise ValueError(f'expected mode "hard", "smooth" or "refined", because it says how to bend the mean; '
                         f"got {mode!r}")  # fmt: skip

    def init(params):
        return ScaleByLionState(jnp.zeros((), jnp.int32), jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params))

    def update(updates, state, params=None):
        del params
        directions = jax.tree.map(lambda m, g: bends[mode](average(m, g, b1)), state.mu, updates)
        mu = jax.tree.map(lambda m, g: average(m, g, b2), state.mu, updates)
        return cast_like(directions, updates), ScaleByLionState(next_count(state.count), cast_like(mu, state.mu))

    return optax.GradientTransformation(init, update)


def lion(
    learning_rate: LearningRate,
    b1: Scalar = 0.9,
    b2: Scalar = 0.99,
    mu_dtype: Any = None,
    weight_decay: Scalar | Schedule = 1e-3,
    mask: Any = None,
) -> Optimizer:
    """Lion, p <- p - learning_rate (sign(b1 m + (1 - b1) g) + weight_decay p), m <- b2 m + (1 - b2) g.

    Its steps are longer than Adam's at the same rate: the paper takes a third to a tenth of Adam's rate, and as many
    times its weight decay.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Weight of the mean in the direction.
        b2: Decay of the mean of gradients.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        weight_decay: A number, a tracer or a schedule; multiplied by the learning rate. Keras's default is none.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `b1` or `b2` is a number that is not from 0 to below 1, or another argument one below 0.

    >>> import jax.numpy as jnp
    >>> optimizer, x = lion(0.1, weight_decay=0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.2, dtype=float32)

    Source: Chen et al., "Symbolic discovery of optimization algorithms" (2023).
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
