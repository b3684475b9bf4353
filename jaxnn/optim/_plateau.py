"""A learning rate that falls when what is watched gets no better."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import scaled
from jaxnn.optim._checks import check_count, check_number, check_range
from jaxnn.typing import Array, Scalar


class ReduceLROnPlateauState(NamedTuple):
    """State of `reduce_on_plateau`; all of shape ()."""

    scale: Array  # what updates are multiplied by, in the narrowest dtype of the parameters
    best_value: Array  # in the widest
    plateau_count: Array  # averages in a row that were no improvement, int32
    cooldown_count: Array  # averages yet to come that are not counted, int32
    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - values in avg_value, int32; optax's name
    avg_value: Array  # of the values since the last average was looked at


def reduce_on_plateau(
    factor: Scalar = 0.1,
    patience: Scalar = 10,
    rtol: Scalar = 1e-4,
    atol: Scalar = 0.0,
    cooldown: Scalar = 0,
    accumulation_size: Scalar = 1,
    min_scale: Scalar = 0.0,
    *,
    mode: Literal["min", "max"] = "min",
) -> optax.GradientTransformationExtraArgs:
    """Scale updates by s, which becomes max(factor s, min_scale) after `patience` values without an improvement.

    A value v is an improvement on the best so far, b, if v < b - rtol |b| - atol, or, if more is better, if
    v > b + rtol |b| + atol. It goes to `update(..., value=v)`; NaN is no improvement. After a fall the count of values
    without an improvement begins anew, and `cooldown` values are not counted. All of it works within `jit`, and every
    argument but `mode` may be a tracer.

    The conventions differ: with patience n the rate falls after the n-th value in a row that is no improvement, here
    as in optax and Keras's `ReduceLROnPlateau`; PyTorch's takes one more. For optax an improvement is
    v < (1 - rtol) b - atol, which is the same for b of 0 or more, and wrong for negative ones, of which a worse value
    would count as better.

    Args:
        factor: By what s is multiplied, between 0 and 1.
        patience: After how many values without an improvement.
        rtol: How much better a value must be, relative to the best.
        atol: How much better, absolutely.
        cooldown: For how many values after a fall nothing is counted.
        accumulation_size: Of how many values the mean is taken and looked at; 1 for a loss of validation, more for the
            losses of batches.
        min_scale: Below what s does not fall.
        mode: Whether less is better or more.

    Raises:
        ValueError: `factor` is not between 0 and 1; `patience` or `accumulation_size` is no count from 1; `rtol`,
            `atol`, `cooldown` or `min_scale` is negative; `mode` is another one.
        TypeError: `update` is called without `value`.

    >>> t = reduce_on_plateau(factor=0.5, patience=2)
    >>> state = t.init(jnp.array(1.0))
    >>> for loss in (1.0, 0.9, 0.9, 0.9):
    ...     step, state = t.update(jnp.array(-0.1), state, value=loss)
    ...     print(step)
    -0.1
    -0.1
    -0.1
    -0.05

    The names are optax's, of `optax.contrib`, but for `mode`.
    """
    _check(factor, patience, cooldown, accumulation_size, mode)
    check_number("a tolerance and a scale have no sign", rtol=rtol, atol=atol, min_scale=min_scale)
    sign = 1 if mode == "min" else -1

    def init(params: Any) -> ReduceLROnPlateauState:
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)] or [jnp.result_type(float)]
        dtypes.sort(key=lambda dtype: jnp.finfo(dtype).bits)
        zero = lambda: jnp.zeros((), jnp.int32)
        return ReduceLROnPlateauState(
            jnp.ones((), dtypes[0]), jnp.asarray(sign * jnp.inf, dtypes[-1]), zero(), zero(), zero(),
            jnp.zeros((), dtypes[-1]),
        )  # fmt: skip

    def update(updates, state, params=None, *, value=None, **extra):
        del params, extra
        if value is None:
            raise TypeError("expected value, because it is what is watched; got none: call update(updates, state, "
                            "params, value=loss)")  # fmt: skip
        dtype = state.avg_value.dtype
        count = state.count + 1
        n = count.astype(dtype)
        mean = ((n - 1) * state.avg_value + jnp.asarray(value, dtype)) / n
        whole = count >= jnp.asarray(accumulation_size, count.dtype)

        best = state.best_value
        tolerance = jnp.where(jnp.isfinite(best), jnp.asarray(rtol, dtype) * jnp.abs(best), 0) + jnp.asarray(
            atol, dtype
        )
        better = sign * mean < sign * best - tolerance
        cooling = state.cooldown_count > 0
        bad = jnp.where(better | cooling, 0, state.plateau_count + 1)
        falls = bad >= jnp.asarray(patience, bad.dtype)
        lower = jnp.maximum(scaled(factor, state.scale), jnp.asarray(min_scale, state.scale.dtype))

        seen = ReduceLROnPlateauState(
            scale=jnp.where(falls, lower, state.scale),
            best_value=jnp.where(better, mean, best),
            plateau_count=jnp.where(falls, 0, bad),
            cooldown_count=jnp.where(
                cooling, state.cooldown_count - 1, jnp.where(falls, jnp.asarray(cooldown, bad.dtype), 0)
            ),
            count=jnp.zeros_like(count),
            avg_value=jnp.zeros_like(mean),
        )
        waiting = state._replace(count=count, avg_value=mean)
        state = jax.tree.map(lambda a, b: jnp.where(whole, a, b), seen, waiting)
        return jax.tree.map(lambda g: scaled(state.scale, g), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _check(factor: Scalar, patience: Scalar, cooldown: Scalar, accumulation_size: Scalar, mode: str) -> None:
    check_range("between 0 and 1", lambda x: (x > 0) & (x < 1), "the rate falls", factor=factor)
    check_count("it counts values", patience=patience, accumulation_size=accumulation_size)
    check_count("it counts values", 0, cooldown=cooldown)
    if mode not in ("min", "max"):
        raise ValueError(f"expected mode to be 'min' or 'max', because one of them is better; got {mode!r}")
