"""L-BFGS: steps along the inverse of a Hessian that is known from the last few steps only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import next_count, ratio, widest
from jaxnn.optim._checks import check_params, known_count
from jaxnn.optim._combining import chain, identity
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._norms import global_norm, inner_product, number_dtype
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._zoom import scale_by_zoom_linesearch
from jaxnn.typing import Array


class ScaleByLBFGSState(NamedTuple):
    """State of `scale_by_lbfgs`; the last m steps stand in rows, the one of step k in row k mod m."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - k, shape (), int32; optax's name
    params: Any  # p at the last step
    updates: Any  # g at the last step, like the parameters
    diff_params_memory: Any  # s = p_(k+1) - p_k, each leaf (m, ...)
    diff_updates_memory: Any  # y = g_(k+1) - g_k, each leaf (m, ...)
    weights_memory: Array  # 1 / (s . y), shape (m,), float32 at least


def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> Optimizer:
    """Multiply the gradient by an approximate inverse of the Hessian H, made of the last m steps s and changes y of g.

    The inverse is H_k = V' H_(k-1) V + s s' / (s . y) with V = 1 - y s' / (s . y), the least change after which
    H_k y = s. It begins at gamma 1, m steps ago. Its product with g takes two loops over the memory and no matrix.

    Args:
        memory_size: m. Each step of the memory takes twice the room of the parameters.
        scale_init_precond: Whether gamma is (s . y) / (y . y) of the last step, the inverse of the curvature along it,
            and min(1, 1 / |g|) at the first one, which makes that no longer than 1; PyTorch takes the sum of |g| for
            its length. Otherwise gamma is 1.

    Raises:
        ValueError: `memory_size` is below 1, not whole or not known, or `update` is called without parameters.

    A step after which y = 0 is left out, its weight is 0. Where s . y < 0, which no search that meets the conditions of
    Wolfe leaves behind, the direction need not be one of descent; optax does the same.

    >>> import jax.numpy as jnp
    >>> t, curvature, x = scale_by_lbfgs(), jnp.array([4.0, 0.25]), jnp.array([1.0, 0.0])
    >>> _, state = t.update(curvature * x, t.init(x), x)
    >>> x = jnp.array([0.5, 0.0])
    >>> t.update(curvature * x, state, x)[0]
    Array([0.5, 0. ], dtype=float32)

    Source: Nocedal and Wright, "Numerical optimization" (2006), algorithms 7.4 and 7.5; Liu and Nocedal, "On the
    limited memory BFGS method for large scale optimization" (1989).
    """
    memory_size = known_count("the last steps are remembered", memory_size=memory_size)

    def init(params):
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        rows = lambda: jax.tree.map(lambda p: jnp.zeros((memory_size, *p.shape), p.dtype), params)
        weights = jnp.zeros(memory_size, number_dtype(params))
        return ScaleByLBFGSState(jnp.zeros((), jnp.int32), zeros(), zeros(), rows(), rows(), weights)

    def update(updates, state, params=None):
        check_params(params, "steps are differences of them")
        k, first = state.count, state.count == 0
        g = jax.tree.map(lambda g, old: g.astype(old.dtype), updates, state.updates)
        # There is no step before the first one.
        s, y = (
            jax.tree.map(lambda new, old: jnp.where(first, 0, new - old), new, old)
            for new, old in ((params, state.params), (g, state.updates))
        )
        sy, yy = inner_product(s, y), inner_product(y, y)
        last = (k - 1) % memory_size
        put = lambda memory, row: jax.tree.map(lambda m, r: m.at[last].set(r.astype(m.dtype)), memory, row)
        memory = (
            put(state.diff_params_memory, s),
            put(state.diff_updates_memory, y),
            put(state.weights_memory, ratio(jnp.ones_like(sy), sy)),
        )

        gamma = jnp.ones((), sy.dtype)
        if scale_init_precond:
            gamma = jnp.where(first, 1 / jnp.maximum(global_norm(g), 1), ratio(sy, yy, 1))
        oldest_to_newest = (k + jnp.arange(memory_size, dtype=k.dtype)) % memory_size
        direction = _times_inverse_hessian(updates, *memory, gamma, oldest_to_newest)
        new = ScaleByLBFGSState(next_count(k), jax.tree.map(jnp.asarray, params), g, *memory)
        return jax.tree.map(lambda d, g: d.astype(g.dtype), direction, updates), new

    return optax.GradientTransformation(init, update)


def lbfgs(
    learning_rate: LearningRate | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Any = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one"),  # noqa: B008
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS, p <- p - rate H g, with H as in `scale_by_lbfgs` and a rate from a line search.

    For functions without noise and of few parameters, on which it takes far fewer steps than gradient descent. `update`
    takes the extra arguments of the search: `value`, `grad` and `value_fn`; what the search has computed where it ended
    need not be computed again, see `value_and_grad_from_state`.

    Args:
        learning_rate: What the direction is multiplied by before the search: a number, a tracer, a schedule, or `None`
            for 1.
        memory_size: How many steps are remembered.
        scale_init_precond: Whether the memory begins with the curvature of the last step, or with 1.
        linesearch: What finds the rate, such as `scale_by_backtracking_linesearch(15)`; with `None` nothing does, and
            `learning_rate` is the rate. PyTorch's default is none, at a rate of 1.

    Raises:
        ValueError: `learning_rate` is a number below 0, `memory_size` one below 1, or `update` is called without
            parameters, or without an argument that the search needs.

    >>> from jaxnn.optim import value_and_grad_from_state
    >>> import jax.numpy as jnp
    >>> optimizer, x = lbfgs(), jnp.array([1.0, 2.0, 3.0])
    >>> f = lambda x: (jnp.array([1.0, 10.0, 100.0]) * x**2).sum()
    >>> state = optimizer.init(x)
    >>> for _ in range(12):
    ...     value, grad = value_and_grad_from_state(f)(x, state=state)
    ...     updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
    ...     x = x + updates
    >>> f(x) < 1e-8
    Array(True, dtype=bool)

    Source: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989).
    """
    return chain(
        scale_by_lbfgs(memory_size, scale_init_precond),
        scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
        identity() if linesearch is None else linesearch,
    )


def _times_inverse_hessian(g: Any, s: Any, y: Any, rho: Array, gamma: Array, oldest_to_newest: Array) -> Any:
    """Return H g: back through the memory q <- q - a y with a = rho s . q, then on through it q <- q + (a - b) s."""
    row = lambda memory, i: jax.tree.map(lambda m: m[i], memory)
    plus = lambda q, factor, x: jax.tree.map(lambda q, x: q + factor.astype(q.dtype) * x.astype(q.dtype), q, x)

    def back(q, i):
        a = rho[i] * inner_product(row(s, i), q)
        return plus(q, -a, row(y, i)), a

    def forth(q, i_and_a):
        i, a = i_and_a
        b = rho[i] * inner_product(row(y, i), q)
        return plus(q, a - b, row(s, i)), None

    q = jax.tree.map(lambda g: g.astype(widest(g, rho)), g)
    q, a = jax.lax.scan(back, q, oldest_to_newest, reverse=True)
    q = jax.tree.map(lambda q: gamma.astype(q.dtype) * q, q)
    return jax.lax.scan(forth, q, (oldest_to_newest, a))[0]
