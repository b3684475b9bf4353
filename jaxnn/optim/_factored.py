"""Adafactor: second moments kept as a vector for rows and one for columns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnn.optim._arithmetic import average, cast_like, next_count, ratio, root, scaled
from jaxnn.optim._checks import check_decay, check_number, check_params, check_real
from jaxnn.optim._clipping import clip_by_block_rms
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._momentum import ema
from jaxnn.optim._norms import leaf_norm, leaf_rms
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class FactoredState(NamedTuple):
    """State of `scale_by_factored_rms`. What a leaf does not need has shape (1,)."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name
    v_row: Any  # R, like the parameters without their longest axis
    v_col: Any  # C, like the parameters without their second longest axis
    v: Any  # v of leaves that are not factored, like the parameters


def power_decay(step: Array, decay_rate: Scalar) -> Array:
    """Return 1 - t^-decay_rate with t = step + 1: 0 at the first step, and ever nearer to 1.

    >>> power_decay(jnp.array(3), 0.5)
    Array(0.5, dtype=float32)

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), section 7.
    """
    t = (step + 1).astype(float)
    return 1 - t ** -jnp.asarray(decay_rate, t.dtype)


def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Scalar = 0.8,
    step_offset: Scalar = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Scalar = 1e-30,
    decay_rate_fn: Callable[[Any, Any], Any] = power_decay,
) -> Optimizer:
    """Divide by the root of a running square that is kept by its means over rows and columns.

    With beta = decay_rate_fn(t - 1 - step_offset, decay_rate), t from 1, of a matrix:
    R[i] <- beta R[i] + (1 - beta) mean_j(g[i, j]^2 + epsilon), C[j] likewise over i,
    v[i, j] = R[i] C[j] / mean(R), direction = g / sqrt(v): right for squares that are a product of a row and a column.
    Of other leaves v <- beta v + (1 - beta) (g^2 + epsilon).

    Args:
        factored: Whether to keep R and C instead of v.
        decay_rate: The exponent c of 1 - t^-c.
        step_offset: What the count was when fine tuning began, from the restored state. Below it beta is NaN.
        min_dim_size_to_factor: A leaf is factored in its two longest axes, if both are at least so long.
        epsilon: Added to squares. With 0, a direction of zero over zero is 0 here, and NaN in optax.
        decay_rate_fn: beta of the count of steps before this one, less `step_offset`, and of `decay_rate`.

    Raises:
        ValueError: `epsilon` or `decay_rate` is a number below 0, or NaN.

    >>> t = scale_by_factored_rms(min_dim_size_to_factor=2)
    >>> p = jnp.zeros((2, 3))
    >>> updates, state = t.update(jnp.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0]]), t.init(p), p)
    >>> updates.round(6)
    Array([[1., 1., 1.],
           [1., 1., 1.]], dtype=float32)
    >>> state.v_row, state.v_col
    (Array([ 7., 28.], dtype=float32), Array([ 2.5, 10. , 40. ], dtype=float32))

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), algorithm 4;
    an upper bound of beta: Zhai et al., "Scaling vision transformers" (2021).
    """
    check_number("it keeps a divisor from 0", epsilon=epsilon)
    check_number("a mean must not forget more and more", decay_rate=decay_rate)

    def axes(x):  # the second longest and the longest
        if not factored or x.ndim < 2:
            return None
        second, longest = (int(axis) for axis in np.argsort(x.shape)[-2:])
        return (second, longest) if x.shape[second] >= min_dim_size_to_factor else None

    def split(tree, like):
        if not jax.tree.leaves(like):
            return (like,) * 4
        return jax.tree.transpose(jax.tree.structure(like), jax.tree.structure((0, 0, 0, 0)), tree)

    def init(params):
        def zeros(p):
            without = lambda axis: jnp.zeros(np.delete(p.shape, axis), p.dtype)
            none = lambda: jnp.zeros((1,), p.dtype)
            if factors := axes(p):
                second, longest = factors
                return none(), without(longest), without(second), none()
            return none(), none(), none(), jnp.zeros_like(p)

        _, v_row, v_col, v = split(jax.tree.map(zeros, params), params)
        return FactoredState(jnp.zeros((), jnp.int32), v_row, v_col, v)

    def update(updates, state, params=None):
        del params
        check_real(updates)
        beta = decay_rate_fn(state.count - jnp.asarray(step_offset, jnp.int32), decay_rate)

        def step(g, v_row, v_col, v):
            wide = accumulator_dtype(g.dtype)
            x = g.astype(wide)
            square = jnp.square(x) + jnp.asarray(epsilon, wide)
            if factors := axes(g):
                second, longest = factors
                v_row = average(v_row, square.mean(longest), beta)
                v_col = average(v_col, square.mean(second), beta)
                mean = v_row.mean(second - (second > longest), keepdims=True)
                row = ratio(root(v_row), root(mean))  # two roots: in float32 the derivative of one of 1e-30 is infinite
                divisor = jnp.expand_dims(row, longest) * jnp.expand_dims(root(v_col), second)
            else:
                v = average(v, square, beta)
                divisor = root(v)
            return ratio(x, divisor).astype(g.dtype), v_row, v_col, v

        direction, *kept = split(jax.tree.map(step, updates, state.v_row, state.v_col, state.v), updates)
        return direction, FactoredState(next_count(state.count), *cast_like(tuple(kept), tuple(state[1:])))

    return optax.GradientTransformation(init, update)


def scale_by_param_block_norm(min_scale: Scalar = 1e-3) -> Optimizer:
    """Multiply the direction of each leaf by the norm of its parameters, direction = max(|p|, min_scale) g.

    Args:
        min_scale: The least norm: parameters that begin at 0 would otherwise never leave it.

    Raises:
        ValueError: `min_scale` is a number below 0, or NaN; or `update` is called without parameters.

    >>> t = scale_by_param_block_norm()
    >>> g, p = jnp.array([1.0, -1.0]), jnp.array([3.0, 4.0])
    >>> t.update(g, t.init(p), p)[0]
    Array([ 5., -5.], dtype=float32)

    The name and the numbers are optax's.
    """
    return _scale_by_size(leaf_norm, min_scale)


def scale_by_param_block_rms(min_scale: Scalar = 1e-3) -> Optimizer:
    """Multiply the direction of each leaf by the root mean square of its parameters, max(rms(p), min_scale) g.

    Args:
        min_scale: The least root mean square: parameters that begin at 0 would otherwise never leave it.

    Raises:
        ValueError: `min_scale` is a number below 0, or NaN; or `update` is called without parameters.

    >>> t = scale_by_param_block_rms()
    >>> g, p = jnp.array([1.0, -1.0]), jnp.array([1.0, 7.0])
    >>> t.update(g, t.init(p), p)[0]
    Array([ 5., -5.], dtype=float32)

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), section 8.
    """
    return _scale_by_size(leaf_rms, min_scale)


def adafactor(
    learning_rate: LearningRate | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Scalar = 0.8,
    decay_offset: Scalar = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Scalar | None = 1.0,
    momentum: Scalar | None = None,
    dtype_momentum: Any = jnp.float32,
    weight_decay_rate: Scalar | Schedule | None = None,
    eps: Scalar = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> Optimizer:
    """Adafactor: steps in proportion to the parameters, with second moments of a few numbers a matrix.

    u = g / sqrt(v), see `scale_by_factored_rms`; u <- u / max(1, rms(u) / clipping_threshold);
    u <- learning_rate max(rms(p), 0.001) u; m <- momentum m + (1 - momentum) u, not corrected for its start;
    p <- p - (m + weight_decay_rate p).

    Args:
        learning_rate: A number, a tracer or a schedule; with `None` it is 1. The paper's is min(0.01, 1 / sqrt(t)),
            that of PyTorch is min(learning_rate, 1 / sqrt(t)) with 0.01, and Keras's default is 0.001.
        min_dim_size_to_factor: A leaf is factored in its two longest axes, if both are at least so long. PyTorch and
            Keras factor every matrix, in its last two axes.
        decay_rate: The exponent c of 1 - t^-c.
        decay_offset: What the count was when fine tuning began.
        multiply_by_parameter_scale: Whether a learning rate is relative to the root mean square of a leaf.
        clipping_threshold: The largest root mean square of a direction; with `None` there is none.
        momentum: Decay of m; with `None` there is none.
        dtype_momentum: Dtype of m; that of the parameters if `None`.
        weight_decay_rate: The part by which weights fade in each step; with `None` none. No learning rate multiplies
            it, unlike in PyTorch.
        eps: Added to squares.
        factored: Whether to keep rows and columns instead of all squares.
        weight_decay_mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `momentum` is a number that is not from 0 to below 1, or another argument one below 0; or `update`
            is called without parameters where they are needed.

    >>> optimizer, x = adafactor(0.5), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-1., dtype=float32)

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (2018), algorithm 5.
    """
    check_decay("a mean must forget", momentum=momentum)
    return chain(
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps),
        identity() if clipping_threshold is None else clip_by_block_rms(clipping_threshold),
        identity() if learning_rate is None else scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_param_block_rms() if multiply_by_parameter_scale else identity(),
        identity() if momentum is None else ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        identity() if weight_decay_rate is None else add_decayed_weights(weight_decay_rate, weight_decay_mask),
        scale_by_learning_rate(1.0),
    )


def _scale_by_size(size: Callable[[Array, Scalar], Array], min_scale: Scalar) -> Optimizer:
    check_number("it is the least size", min_scale=min_scale)

    def init(params):
        del params
        return optax.EmptyState()

    def update(updates, state, params=None):
        check_params(params, "a step is as long as their size says")
        return jax.tree.map(lambda g, p: scaled(size(p, min_scale), g), updates, params), state

    return optax.GradientTransformation(init, update)
