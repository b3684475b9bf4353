"""Sophia: steps over the curvature, clipped, with the diagonal of the Hessian estimated now and then."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import average, cast_like, corrected, next_count, ratio, widest
from jaxnn.optim._checks import check_count, check_decay, check_number, check_params, check_real
from jaxnn.optim._combining import chain
from jaxnn.optim._key import KeyOrSeed, check_key, key_of
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule


class HutchinsonState(NamedTuple):
    """State of `hutchinson_estimator_diag_hessian`."""

    key: Array  # of the signs to come


def hutchinson_estimator_diag_hessian(random_seed: KeyOrSeed | None = None) -> optax.GradientTransformationExtraArgs:
    """Replace gradients by an estimate of the diagonal of the Hessian, s (H s) with random signs s.

    Its mean is the diagonal; what lies off it, sum_j H_ij s_i s_j, is noise, of which a diagonal Hessian has none.
    `update(grads, state, params, obj_fn=f)` needs f, a function of the parameters alone that returns the loss.

    Args:
        random_seed: A key of `jax.random`, or an integer that makes one; `jax.random.PRNGKey(0)` if `None`.

    Raises:
        ValueError: `update` is called without parameters or without `obj_fn`.
        TypeError: `random_seed` is neither a key nor an integer.

    >>> t, x = hutchinson_estimator_diag_hessian(), jnp.array([1.0, 2.0])
    >>> t.update(x, t.init(x), x, obj_fn=lambda x: (x**3).sum())[0]
    Array([ 6., 12.], dtype=float32)

    Source: Hutchinson (1990); Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix" (2007).
    """
    if random_seed is not None:
        check_key(random_seed)

    def init(params):
        del params
        return HutchinsonState(jax.random.PRNGKey(0) if random_seed is None else key_of(random_seed))

    def update(updates, state, params=None, *, obj_fn=None, **extra):
        del extra
        check_params(params, "the Hessian is taken there")
        if obj_fn is None:
            raise ValueError("expected obj_fn, because the Hessian is that of the loss; got None: call update(updates, "
                             "state, params, obj_fn=lambda params: loss)")  # fmt: skip
        key, now = jax.random.split(state.key)
        leaves, tree = jax.tree.flatten(params)
        # float32 whatever the dtype, so that the signs are optax's.
        signs = [
            jax.random.rademacher(k, p.shape, jnp.float32).astype(p.dtype)
            for k, p in zip(jax.random.split(now, len(leaves)), leaves, strict=True)
        ]
        s = jax.tree.unflatten(tree, signs)
        _, product = jax.jvp(jax.grad(obj_fn), (params,), (s,))
        diagonal = jax.tree.map(lambda h, s, g: (h * s).astype(g.dtype), product, s, updates)
        return diagonal, HutchinsonState(key)

    return optax.GradientTransformationExtraArgs(init, update)


_HUTCHINSON = hutchinson_estimator_diag_hessian()


class SophiaState(NamedTuple):
    """State of `sophia`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    nu: Any  # h, like the parameters
    hessian_fn_state: Any


def scale_by_sophia(
    b1: Scalar = 0.965,
    b2: Scalar = 0.99,
    eps: Scalar = 1e-8,
    gamma: Scalar = 0.01,
    clip_threshold: Scalar | None = 1.0,
    update_interval: Scalar = 10,
    hessian_diagonal_fn: optax.GradientTransformation = _HUTCHINSON,
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: Scalar = 0,
) -> optax.GradientTransformationExtraArgs:
    """Divide the mean gradient by the curvature and clip, see `sophia`."""
    check_decay("a mean must forget", b1=b1, b2=b2)
    check_number("it keeps a divisor from 0", eps=eps)
    check_number("it is a scale", gamma=gamma, clip_threshold=clip_threshold)
    check_count("it counts steps", update_interval=update_interval)
    diagonal = optax.with_extra_args_support(hessian_diagonal_fn)

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        return SophiaState(jnp.zeros((), jnp.int32), mu, jax.tree.map(jnp.zeros_like, params), diagonal.init(params))

    def update(updates, state, params=None, **extra):
        check_params(params, "the Hessian is taken there")
        check_real(updates)
        t = next_count(state.count)
        mu = jax.tree.map(lambda m, g: average(m, g, b1), state.mu, updates)

        def over(m, h):
            wide = widest(m, h)
            curvature = jnp.asarray(gamma, wide) * h.astype(wide)
            return ratio(corrected(m.astype(wide), b1, t), jnp.maximum(curvature, jnp.asarray(eps, wide)))

        steps = jax.tree.map(over, mu, state.nu)
        if clip_threshold is not None:
            if verbose:
                _print_win_rate(steps, clip_threshold, t, print_win_rate_every_n_steps)
            bound = lambda u: jnp.asarray(clip_threshold, u.dtype)
            steps = jax.tree.map(lambda u: jnp.clip(u, -bound(u), bound(u)), steps)

        def look(nu, inner):
            h, inner = diagonal.update(updates, inner, params, **extra)
            return cast_like(jax.tree.map(lambda v, h: average(v, h, b2), nu, h), nu), inner

        due = state.count % jnp.asarray(update_interval, jnp.int32) == 0
        nu, inner = jax.lax.cond(due, look, lambda nu, inner: (nu, inner), state.nu, state.hessian_fn_state)
        return cast_like(steps, updates), SophiaState(t, cast_like(mu, state.mu), nu, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def sophia(
    learning_rate: LearningRate,
    b1: Scalar = 0.965,
    b2: Scalar = 0.99,
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 1e-4,
    weight_decay_mask: Any = None,
    gamma: Scalar = 0.01,
    clip_threshold: Scalar | None = 1.0,
    update_interval: Scalar = 10,
    hessian_diagonal_fn: optax.GradientTransformation = _HUTCHINSON,
    mu_dtype: Any = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: Scalar = 0,
) -> optax.GradientTransformationExtraArgs:
    """Sophia, p <- p - learning_rate (clip(m^ / max(gamma h, eps)) + weight_decay p), with clip to +-clip_threshold.

    m <- b1 m + (1 - b1) g, m^ = m / (1 - b1^t); at steps 1, 1 + update_interval, .. after the step
    h <- b2 h + (1 - b2) (an estimate of the diagonal of the Hessian), which is not corrected for its start from 0:
    early steps are clipped, to the signs of m.

    Args:
        learning_rate: A number, a tracer or a schedule.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of estimates.
        eps: Below what curvatures, and negative ones, are taken to be the same.
        weight_decay: Multiplied by the learning rate.
        weight_decay_mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        gamma: A factor of curvatures; the smaller, the more is clipped.
        clip_threshold: The longest step of each parameter; with `None` any.
        update_interval: The estimate is made at each so many steps, and costs about as much as a gradient.
        hessian_diagonal_fn: That makes it, and is given the extra arguments of `update`; Hutchinson's by default, which
            needs `obj_fn`, the loss as a function of the parameters.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        verbose: Whether to print which part of the steps is not clipped; 0.1 to 0.5 is meant.
        print_win_rate_every_n_steps: When to; 0 for never.

    Raises:
        ValueError: A decay is a number that is not from 0 to below 1, `update_interval` one below 1 or not whole,
            another argument one below 0; or `update` is called without parameters or without `obj_fn`.

    >>> optimizer, x = sophia(0.1, weight_decay=0.0), jnp.array(2.0)
    >>> optimizer.update(2 * x, optimizer.init(x), x, obj_fn=lambda x: x**2)[0]
    Array(-0.1, dtype=float32)

    The paper's estimate takes normal numbers for signs; theirs is noisier.

    Source: Liu, Li, Hall, Liang and Ma, "Sophia: a scalable stochastic second-order optimizer for language model
    pre-training" (2023).
    """
    return chain(
        scale_by_sophia(b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype, verbose,
                        print_win_rate_every_n_steps),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip


def _print_win_rate(steps: Any, threshold: Scalar, t: Array, every: Scalar) -> None:
    leaves = jax.tree.leaves(steps)
    free = sum(jnp.sum(jnp.abs(u) < jnp.asarray(threshold, u.dtype)) for u in leaves)
    rate = free / max(1, sum(u.size for u in leaves))
    every = jnp.asarray(every, jnp.int32)
    due = (every > 0) & (t % jnp.maximum(every, 1) == 0)
    jax.lax.cond(due, lambda: jax.debug.print("Sophia: {} of the steps are not clipped", rate), lambda: None)
