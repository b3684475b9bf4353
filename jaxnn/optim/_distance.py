"""Steps as long as the way gone so far, over the root of the gradients met on it."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import cast_like, ratio, root, scaled, widest
from jaxnn.optim._checks import check_number, check_params
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._norms import global_norm, inner_product
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._parameters import copied, difference, narrowest
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype

_BECAUSE = "the distance from the first ones is measured"


class DoGState(NamedTuple):
    """State of `dog`."""

    is_init_step: Array  # whether there was no step yet, shape (), bool
    init_params: Any  # p_0, like the parameters
    max_dist: Array  # r, shape (), in the narrowest dtype of the parameters
    sum_sq_norm_grads: Array  # G, as r


def scale_by_dog(
    init_step: tuple[Literal["distance", "learning_rate", "heuristic"], Scalar], eps: Scalar = 1e-8
) -> Optimizer:
    """Multiply by r / sqrt(G + eps), see `dog`."""
    try:
        kind, value = init_step
    except (TypeError, ValueError):
        raise ValueError("expected init_step to be a word and a number, such as ('distance', 0.1), because the word "
                         f"says what the number is; got {init_step!r}") from None  # fmt: skip
    if kind not in ("distance", "learning_rate", "heuristic"):
        raise ValueError("expected init_step to begin with 'distance', 'learning_rate' or 'heuristic', because it says "
                         f"what the number is; got {kind!r}")  # fmt: skip
    check_number("it is the length of the first step", init_step=value)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        dtype = narrowest(params)
        if kind == "heuristic":
            size = global_norm(params)
            r = jnp.asarray(value, size.dtype) * (1 + size)
        else:
            r = value if kind == "distance" else 0.0
        return DoGState(jnp.asarray(True), copied(params), jnp.asarray(r, dtype), jnp.zeros((), dtype))

    def update(updates, state, params=None):
        check_params(params, _BECAUSE)
        distance = global_norm(difference(params, state.init_params))
        square = inner_product(updates, updates)
        wide = widest(distance, square, state.max_dist)
        r = jnp.maximum(state.max_dist.astype(wide), distance.astype(wide))
        G = state.sum_sq_norm_grads.astype(wide) + square.astype(wide)
        rate = ratio(r, root(G + jnp.asarray(eps, wide)))
        if kind == "learning_rate":
            rate = jnp.where(state.is_init_step, jnp.asarray(value, wide), rate)
        state = DoGState(jnp.zeros_like(state.is_init_step), state.init_params,
                         r.astype(state.max_dist.dtype), G.astype(state.sum_sq_norm_grads.dtype))  # fmt: skip
        return jax.tree.map(lambda g: scaled(rate, g), updates), state

    return optax.GradientTransformation(init, update)


def dog(
    learning_rate: LearningRate = 1.0,
    init_step: tuple[Literal["distance", "learning_rate", "heuristic"], Scalar] = ("heuristic", 1e-6),
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule | None = None,
    mask: Any = None,
) -> Optimizer:
    """Distance over gradients, r <- max(r, |p - p_0|), G <- G + |g|^2, p <- p - learning_rate r / sqrt(G + eps) g.

    Norms are over all parameters at once. The authors average the parameters along the way.

    Args:
        learning_rate: A factor of what is found; a number, a tracer or a schedule.
        init_step: What the first step is to be, and a number a: `"distance"` begins with r = a, `"heuristic"` with
            r = a (1 + |p_0|), for which they recommend 1e-6, and 1e-4 with batch normalization, and `"learning_rate"`
            takes a step of a g and then r as it is. For the heuristic `init` needs the very parameters.
        eps: Keeps the divisor from 0. Without it a step before which all gradients were 0 is 0; in optax it is NaN.
        weight_decay: Adds weight_decay p to the gradients; with `None` nothing.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: `init_step` begins with another word, a number is below 0 or NaN, or `update` is called without
            parameters.

    >>> optimizer, x = dog(init_step=("distance", 0.5)), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.5, dtype=float32)

    Source: Ivgi, Hinder and Carmon, "DoG is SGD's best friend: a parameter-free dynamic step size schedule" (2023).
    """
    return chain(_decay(weight_decay, mask), scale_by_dog(init_step, eps), scale_by_learning_rate(learning_rate))


class DoWGState(NamedTuple):
    """State of `dowg`."""

    init_params: Any  # p_0, like the parameters
    weighted_sq_norm_grads: Array  # G, shape (), in the narrowest dtype of the parameters
    estim_sq_dist: Array  # r^2, as G


def scale_by_dowg(init_estim_sq_dist: Scalar | None = None, eps: Scalar = 1e-4) -> Optimizer:
    """Multiply by r^2 / (sqrt(G) + eps), see `dowg`."""
    check_number("it is a squared distance", init_estim_sq_dist=init_estim_sq_dist)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        dtype = narrowest(params)
        r2 = eps if init_estim_sq_dist is None else init_estim_sq_dist
        return DoWGState(copied(params), jnp.zeros((), dtype), jnp.asarray(r2, dtype))

    def update(updates, state, params=None):
        check_params(params, _BECAUSE)
        way = difference(params, state.init_params)
        distance, square = inner_product(way, way), inner_product(updates, updates)
        wide = widest(distance, square, state.estim_sq_dist)
        r2 = jnp.maximum(state.estim_sq_dist.astype(wide), distance.astype(wide))
        G = r2 * square.astype(wide) + state.weighted_sq_norm_grads.astype(wide)
        rate = ratio(r2, root(G) + jnp.asarray(eps, wide))
        dtype = state.estim_sq_dist.dtype
        return jax.tree.map(lambda g: scaled(rate, g), updates), DoWGState(
            state.init_params, G.astype(dtype), r2.astype(dtype)
        )

    return optax.GradientTransformation(init, update)


def dowg(
    learning_rate: LearningRate = 1.0,
    init_estim_sq_dist: Scalar | None = None,
    eps: Scalar = 1e-4,
    weight_decay: Scalar | Schedule | None = None,
    mask: Any = None,
) -> Optimizer:
    """Distance over weighted gradients, G <- G + r^2 |g|^2, p <- p - learning_rate r^2 / (sqrt(G) + eps) g.

    r^2 <- max(r^2, |p - p_0|^2), before it is used. As distances grow, late gradients weigh more than early ones,
    and the steps are longer than those of `dog`.

    Args:
        learning_rate: A factor of what is found; a number, a tracer or a schedule.
        init_estim_sq_dist: r^2 before the first step; eps if `None`.
        eps: Keeps the divisor from 0. Without it a step before which all gradients were 0 is 0; in optax it is NaN.
        weight_decay: Adds weight_decay p to the gradients; with `None` nothing.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.

    Raises:
        ValueError: A number is below 0 or NaN, or `update` is called without parameters.

    >>> optimizer, x = dowg(init_estim_sq_dist=0.25, eps=0.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x)[0]
    Array(-0.5, dtype=float32)

    Source: Khaled, Mishchenko and Jin, "DoWG unleashed: an efficient universal parameter-free gradient descent method"
    (2023).
    """
    return chain(
        _decay(weight_decay, mask), scale_by_dowg(init_estim_sq_dist, eps), scale_by_learning_rate(learning_rate)
    )


class ScaleByDistanceOverGradientsState(NamedTuple):
    """State of `scale_by_distance_over_gradients`."""

    max_dist: Any  # r, shape () for each leaf, in its dtype
    grad_sum_of_squares: Any  # G, shape (1,) for each leaf, float32 at least
    init_params: Any  # p_0, like the parameters, in `param_dtype`


def scale_by_distance_over_gradients(
    reps_rel: Scalar = 1e-6, eps: Scalar = 1e-8, param_dtype: Any = jnp.float32, global_scale: Scalar = 1.0
) -> Optimizer:
    """Multiply each leaf by global_scale r / sqrt(G + eps), where r and G are those of `dog`, of the leaf alone.

    Args:
        reps_rel: r begins as reps_rel (1 + |p_0|); recommended are 1e-6, and 1e-4 with batch normalization.
        eps: Keeps the divisor from 0.
        param_dtype: Dtype in which p_0 is kept. Optax's default of float32 rounds parameters of float64: what is
            measured then is never quite 0.
        global_scale: A factor of all; -1 turns ascent into descent.

    Raises:
        ValueError: `reps_rel` or `eps` is a number below 0 or NaN, or `update` is called without parameters.

    >>> t, x = scale_by_distance_over_gradients(reps_rel=0.5, global_scale=-1.0), jnp.array(3.0)
    >>> t.update(2 * x, t.init(x), x)[0]
    Array(-2., dtype=float32)

    In optax a leaf of shape () comes back with shape (1,), and a scan over steps refuses leaves of bfloat16, whose r
    changes its dtype; here both work.

    Source: Ivgi, Hinder and Carmon, "DoG is SGD's best friend" (2023), LDoG.
    """
    check_number("it is the length of the first step", reps_rel=reps_rel)
    check_number("it keeps a divisor from 0", eps=eps)

    def init(params):
        def distance(p):
            size = global_norm(p)
            return (jnp.asarray(reps_rel, size.dtype) * (1 + size)).astype(p.dtype)

        return ScaleByDistanceOverGradientsState(
            jax.tree.map(distance, params),
            jax.tree.map(lambda p: jnp.zeros(1, accumulator_dtype(p.dtype)), params),
            jax.tree.map(lambda p: jnp.array(p, param_dtype), params),
        )

    def update(updates, state, params=None):
        check_params(params, _BECAUSE)

        def farthest(r, p, start):
            distance = global_norm(difference(p, start))
            return jnp.maximum(r.astype(distance.dtype), distance)

        def scale(g, r, G):
            wide = widest(g, r, G)
            rate = ratio(r.astype(wide), root(G[0].astype(wide) + jnp.asarray(eps, wide)))
            return scaled(jnp.asarray(global_scale, wide) * rate, g)

        r = jax.tree.map(farthest, state.max_dist, params, state.init_params)
        G = jax.tree.map(lambda G, g: G + inner_product(g, g).astype(G.dtype), state.grad_sum_of_squares, updates)
        kept = ScaleByDistanceOverGradientsState(cast_like(r, state.max_dist), G, state.init_params)
        return jax.tree.map(scale, updates, r, G), kept

    return optax.GradientTransformation(init, update)


def _decay(weight_decay: Scalar | Schedule | None, mask: Any) -> Optimizer:
    return identity() if weight_decay is None else add_decayed_weights(weight_decay, mask)
