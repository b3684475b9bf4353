"""The backtracking line search: steps that shorten until the function has fallen enough."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import scaled
from jaxnn.optim._checks import check_at_least_1, check_count, check_number, check_part, check_range
from jaxnn.optim._line import along, check_given, function_of_params, slope, violation
from jaxnn.optim._norms import number_dtype
from jaxnn.typing import Array, Scalar


class BacktrackingLinesearchInfo(NamedTuple):
    """What is known about the last search of `scale_by_backtracking_linesearch`."""

    num_linesearch_steps: Array  # rates that were tried, shape (), int
    decrease_error: Array  # by how much the function has not fallen enough, shape (); 0 after success


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """State of `scale_by_backtracking_linesearch`; numbers are of shape (), in float32 at least."""

    learning_rate: Array  # that was accepted; 0 if the function was finite nowhere
    value: Array  # of the function where that led; infinite before the first search
    grad: Any  # of the function there, like the parameters; `None` without `store_grad`
    info: BacktrackingLinesearchInfo


def scale_by_backtracking_linesearch(
    max_backtracking_steps: Scalar,
    slope_rtol: Scalar = 1e-4,
    decrease_factor: Scalar = 0.8,
    increase_factor: Scalar = 1.5,
    max_learning_rate: Scalar = 1.0,
    atol: Scalar = 0.0,
    rtol: Scalar = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Multiply updates u by the first rate of a falling sequence after which the function f has fallen enough.

    That is, f(p + rate u) <= (1 + rtol) f(p) + slope_rtol rate u . grad f(p) + atol, the condition of Armijo. The
    sequence begins at min(increase_factor (the last rate), max_learning_rate) and goes on by decrease_factor.

    It stands last, or where u is a direction of descent, such as after `sgd(1.0)`: along another one f need not fall at
    all. `update` takes the extra arguments `value` and `grad`, which are f(p) and its gradient, `value_fn`, which is f,
    and those that f has beside p. If f does not fall enough, the shortest step is taken; if f is finite nowhere, none.
    The loop can be differentiated forward (`jax.jvp`), not in reverse.

    Args:
        max_backtracking_steps: How often a rate is shortened at most, a whole number from 0.
        slope_rtol: The part of the fall that the slope promises, to be had, from 0 to 1.
        decrease_factor: What a rate is multiplied by if the function has not fallen enough, between 0 and 1.
        increase_factor: What the last rate is multiplied by for the first try: with 1 it is kept, with infinity each
            search begins at `max_learning_rate`.
        max_learning_rate: The largest rate.
        atol: How much of the fall may be missing.
        rtol: How much of it, relative to f(p).
        store_grad: Whether the gradient at the end is computed and kept, for `value_and_grad_from_state`. It costs an
            evaluation of f more than in optax, which remembers what the backward needs at every try instead.
        verbose: Whether to print what a search that fails has met.

    Raises:
        ValueError: An argument is a number outside of the range above, or `update` is called without one that it needs.
        TypeError: `update` is called with an extra argument that `value_fn` does not take.

    After a search that found no finite value the next one begins at 1; in optax the rate is 0 from there on.

    >>> import jax.numpy as jnp
    >>> f, x = lambda x: x**2, jnp.array(2.0)
    >>> t = scale_by_backtracking_linesearch(15)
    >>> updates, state = t.update(-2 * x, t.init(x), x, value=f(x), grad=2 * x, value_fn=f)
    >>> state.learning_rate, x + updates
    (Array(0.8, dtype=float32), Array(-1.2, dtype=float32))

    Source: Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives" (1966); Vaswani
    et al., "Painless stochastic gradient" (2019), for the rate to begin with.
    """
    check_part("it is a part of the slope", slope_rtol=slope_rtol)
    check_range("between 0 and 1", lambda x: (x > 0) & (x < 1), "rates shorten", decrease_factor=decrease_factor)
    check_count("it counts", 0, max_backtracking_steps=max_backtracking_steps)
    check_at_least_1("else rates would vanish", increase_factor=increase_factor)
    check_number("it is the length of a step", max_learning_rate=max_learning_rate)
    check_number("a tolerance has no sign", atol=atol, rtol=rtol)

    def init(params):
        dtype = number_dtype(params)
        return ScaleByBacktrackingLinesearchState(
            learning_rate=jnp.ones((), dtype),
            value=jnp.asarray(jnp.inf, dtype),
            grad=jax.tree.map(jnp.zeros_like, params) if store_grad else None,
            info=BacktrackingLinesearchInfo(jnp.zeros((), jnp.result_type(int)), jnp.asarray(jnp.inf, dtype)),
        )

    def update(updates, state, params=None, *, value=None, grad=None, value_fn: Any = None, **extra):
        check_given(params=params, value=value, grad=grad, value_fn=value_fn)
        f = function_of_params(value_fn, extra)
        dtype = state.learning_rate.dtype
        number = lambda x: jnp.asarray(x, dtype)
        f0, start_slope = number(value), number(slope(grad, updates))

        def misses(tried):
            _, _, error, tries = tried
            return ~(error <= number(atol)) & (tries <= jnp.asarray(max_backtracking_steps, tries.dtype))

        def shorten(tried):
            rate, _, _, tries = tried
            rate = jnp.where(tries > 0, number(decrease_factor) * rate, rate)
            new = number(f(along(params, rate, updates)))
            error = violation(new - (1 + number(rtol)) * f0 - number(slope_rtol) * rate * start_slope)
            return rate, new, error, tries + 1

        last = jnp.where(state.learning_rate > 0, state.learning_rate, 1)
        first = jnp.minimum(number(increase_factor) * last, number(max_learning_rate))
        rate, new, error, tries = jax.lax.while_loop(
            misses, shorten, (first, f0, jnp.asarray(jnp.inf, dtype), jnp.zeros_like(state.info.num_linesearch_steps))
        )
        if verbose:
            _report(error > number(atol), f0, start_slope, rate, error)

        new_grad = None
        if store_grad:
            new_grad = jax.tree.map(
                lambda g, p: g.astype(p.dtype), jax.grad(lambda p: number(f(p)))(along(params, rate, updates)), params
            )
        rate = jnp.where(jnp.isinf(error), 0, rate)
        info = BacktrackingLinesearchInfo(tries, error)
        return jax.tree.map(lambda u: scaled(rate, u), updates), ScaleByBacktrackingLinesearchState(
            rate, new, new_grad, info
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _report(failed: Array, value: Array, slope: Array, rate: Array, error: Array) -> None:
    message = (
        "scale_by_backtracking_linesearch: the function has not fallen enough from {value}, with a slope of {slope}: "
        "at a rate of {rate} {error} is missing. The slope of a direction of descent is below 0; if it is, allow more "
        "steps. If what is missing is infinite, the function was not finite, and no step is made."
    )
    jax.lax.cond(
        failed, lambda: jax.debug.print(message, value=value, slope=slope, rate=rate, error=error), lambda: None
    )
