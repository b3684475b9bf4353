"""The zoom line search: steps after which the function has fallen enough and is flat enough."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import chosen, scaled
from jaxnn.optim._checks import check_at_least_1, check_count, check_number
from jaxnn.optim._line import along, check_given, function_of_params, slope, violation
from jaxnn.optim._norms import number_dtype
from jaxnn.optim._zoom_bracketing import Bracket, bracket_going_out, bracket_inside
from jaxnn.optim._zoom_interpolation import Point, point_between
from jaxnn.typing import Array, Scalar


class ZoomLinesearchInfo(NamedTuple):
    """What is known about the last search of `scale_by_zoom_linesearch`."""

    num_linesearch_steps: Array  # rates that were tried, shape (), int
    decrease_error: Array  # by how much the function has not fallen enough, shape (); 0 after success
    curvature_error: Array  # by how much it is not flat enough, shape (); 0 after success


class ScaleByZoomLinesearchState(NamedTuple):
    """State of `scale_by_zoom_linesearch`; numbers are of shape (), in float32 at least."""

    learning_rate: Array  # that was accepted; 0 if the function was finite nowhere
    value: Array  # of the function where that led; infinite before the first search
    grad: Any  # of the function there, like the parameters
    info: ZoomLinesearchInfo


class _Search(NamedTuple):
    """A search under way: first out, until an interval that must hold a good rate is found, then into it."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - rates tried
    last: Point  # that was tried; the parameters themselves before the first
    last_grad: Any
    bracket: Bracket
    bracketed: Array  # whether the interval is found
    safe: Point  # the best after which the function has fallen enough, flat or not
    safe_grad: Any
    decrease_error: Array
    curvature_error: Array
    done: Array
    failed: Array


def scale_by_zoom_linesearch(
    max_linesearch_steps: Scalar,
    max_learning_rate: Scalar | None = None,
    tol: Scalar = 0.0,
    increase_factor: Scalar = 2.0,
    slope_rtol: Scalar = 1e-4,
    curv_rtol: Scalar = 0.9,
    approx_dec_rtol: Scalar | None = 1e-6,
    stepsize_precision: Scalar = 1e-5,
    initial_guess_strategy: Literal["keep", "one"] = "keep",
    verbose: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Multiply updates u by a rate after which the function f has fallen enough and is flat enough along u.

    With s = u . grad f these are the strong conditions of Wolfe,
    f(p + rate u) <= f(p) + slope_rtol rate s(p) + tol and |s(p + rate u)| <= curv_rtol |s(p)| + tol.
    The search goes out from a guess by `increase_factor` until an interval that must hold such a rate is found; then it
    zooms into it, by the minimum of a cubic or a parabola through the points that are known.

    It stands last, or where u is a direction of descent. `update` takes the extra arguments `value` and `grad`, which
    are f(p) and its gradient, `value_fn`, which is f, and those that f has beside p. A search that fails takes the best
    rate after which f has fallen enough, else the last it tried, else, if f was not finite there, none.
    The loop can be differentiated forward (`jax.jvp`), not in reverse.

    Args:
        max_linesearch_steps: How many rates are tried at most; each costs a value and a gradient.
        max_learning_rate: The largest rate; with `None` there is none. It is taken if f still falls steeply there.
        tol: By how much either condition may be violated.
        increase_factor: What a rate is multiplied by on the way out, at least 1.
        slope_rtol: c_1, the part of the fall that the slope promises, to be had.
        curv_rtol: c_2, the part of the slope that may be left. With infinity it does not matter how flat f is.
        approx_dec_rtol: Close to a minimum values differ by no more than rounding. Where f rises by less than this
            times |f(p)|, s(p + rate u) <= (2 slope_rtol - 1) s(p) is enough for the first condition. With `None` it
            is not.
        stepsize_precision: How short an interval is left as it is, if f has fallen enough somewhere.
        initial_guess_strategy: The rate that is tried first: `keep` the last one, as suits gradient descent, or `one`,
            as suits Newton's method and its kin.
        verbose: Whether to print what a search that fails has met.

    Raises:
        ValueError: An argument is negative or NaN, or `max_linesearch_steps` or `increase_factor` below 1, or
            `initial_guess_strategy` another one, or `update` is called without an argument that it needs.
        TypeError: `update` is called with an extra argument that `value_fn` does not take.

    After a search that found no finite value `keep` begins at 1; in optax the rate is 0 from there on.

    >>> import jax.numpy as jnp
    >>> f, x = lambda x: x**2, jnp.array(2.0)
    >>> t = scale_by_zoom_linesearch(15)
    >>> updates, state = t.update(-2 * x, t.init(x), x, value=f(x), grad=2 * x, value_fn=f)
    >>> x + updates, state.learning_rate, state.info.num_linesearch_steps
    (Array(0., dtype=float32), Array(0.5, dtype=float32), Array(2, dtype=int32))

    Source: Nocedal and Wright, "Numerical optimization" (2006), algorithms 3.5 and 3.6; Hager and Zhang, "Algorithm
    851: CG_DESCENT" (2006), for the condition close to a minimum.
    """
    check_count("one rate must be tried", max_linesearch_steps=max_linesearch_steps)
    check_at_least_1("the search goes out", increase_factor=increase_factor)
    check_number("it is the length of a step", max_learning_rate=max_learning_rate)
    check_number("it is a part of the slope", slope_rtol=slope_rtol, curv_rtol=curv_rtol)
    check_number("a tolerance has no sign", tol=tol, approx_dec_rtol=approx_dec_rtol,
                 stepsize_precision=stepsize_precision)  # fmt: skip
    if initial_guess_strategy not in ("keep", "one"):
        raise ValueError("expected initial_guess_strategy 'keep' or 'one', because a search begins somewhere; got "
                         f"{initial_guess_strategy!r}")  # fmt: skip

    def init(params):
        dtype = number_dtype(params)
        infinite = lambda: jnp.array(jnp.inf, dtype)
        return ScaleByZoomLinesearchState(
            learning_rate=jnp.ones((), dtype),
            value=infinite(),
            grad=jax.tree.map(jnp.zeros_like, params),
            info=ZoomLinesearchInfo(jnp.zeros((), jnp.result_type(int)), infinite(), infinite()),
        )

    def update(updates, state, params=None, *, value=None, grad=None, value_fn: Any = None, **extra):
        check_given(params=params, value=value, grad=grad, value_fn=value_fn)
        value_and_grad = jax.value_and_grad(function_of_params(value_fn, extra))
        dtype = state.learning_rate.dtype
        number = lambda x: jnp.asarray(x, dtype)
        c1, c2 = number(slope_rtol), number(curv_rtol)
        like_params = lambda tree: jax.tree.map(lambda g, p: g.astype(p.dtype), tree, params)

        begin = Point(number(0), number(value), number(slope(grad, updates)))
        guess = number(1)
        if initial_guess_strategy == "keep":
            guess = jnp.where(state.learning_rate > 0, state.learning_rate, guess)

        def at(rate):
            value, grad = value_and_grad(along(params, rate, updates))
            return Point(rate, number(value), number(slope(grad, updates))), like_params(grad)

        def decrease_error(new):
            error = new.value - begin.value - c1 * new.rate * begin.slope
            if approx_dec_rtol is None:
                return violation(error)
            rise = new.value - begin.value - number(approx_dec_rtol) * jnp.abs(begin.value)
            flat = new.slope - (2 * c1 - 1) * begin.slope
            return violation(jnp.minimum(error, jnp.maximum(flat, rise)))

        def curvature_error(new):
            # An infinite part of no slope is none.
            allowed = jnp.where(begin.slope == 0, 0, c2 * jnp.abs(begin.slope))
            return violation(jnp.abs(new.slope) - allowed)

        def step(search: _Search) -> _Search:
            further = jnp.where(search.count == 0, guess, number(increase_factor) * search.last.rate)
            furthest = jnp.array(False)
            if max_learning_rate is not None:
                furthest = further >= number(max_learning_rate)
                further = jnp.minimum(further, number(max_learning_rate))
            # One evaluation for both phases: in two branches it would be compiled twice, and under vmap computed twice.
            new, new_grad = at(jnp.where(search.bracketed, point_between(*search.bracket), further))

            errors = decrease_error(new), curvature_error(new)
            good = jnp.maximum(*errors) <= number(tol)
            falls = errors[0] <= number(tol)
            safer = falls & (~search.bracketed | (new.value < search.safe.value))
            safe, safe_grad = chosen(safer, (new, new_grad), (search.safe, search.safe_grad))

            inside = bracket_inside(search.bracket, new, errors[0] > 0)
            outside, found = bracket_going_out(search.last, new, errors[0] > 0, search.count == 0)
            length = jnp.abs(search.bracket.high.rate - search.bracket.low.rate)
            too_short = search.bracketed & (length <= number(stepsize_precision)) & (safe.rate > 0)

            count = search.count + 1
            done = good | (~search.bracketed & furthest & ~found)
            return _Search(
                count, new, new_grad,
                bracket=chosen(search.bracketed, inside, outside),
                bracketed=search.bracketed | found | good,
                safe=safe,
                safe_grad=safe_grad,
                decrease_error=errors[0],
                curvature_error=errors[1],
                done=done,
                failed=~done & (too_short | (count >= jnp.asarray(max_linesearch_steps, count.dtype))),
            )  # fmt: skip

        none, no, grad = number(jnp.inf), jnp.array(False), like_params(grad)
        none_yet = _Search(
            jnp.zeros_like(state.info.num_linesearch_steps), begin, grad, Bracket(begin, begin, begin), no, begin, grad,
            none, none, no, no,
        )  # fmt: skip
        search = jax.lax.while_loop(lambda search: ~(search.done | search.failed), step, none_yet)
        if verbose:
            _report(search, begin)
        fall_back = search.failed & ((search.safe.rate > 0) | jnp.isinf(search.decrease_error))
        (rate, value, _), grad = chosen(fall_back, (search.safe, search.safe_grad), (search.last, search.last_grad))
        info = ZoomLinesearchInfo(search.count, search.decrease_error, search.curvature_error)
        new = ScaleByZoomLinesearchState(rate, value, grad, info)
        return jax.tree.map(lambda u: scaled(rate, u), updates), new

    return optax.GradientTransformationExtraArgs(init, update)


def _report(search: _Search, begin: Point) -> None:
    message = (
        "scale_by_zoom_linesearch: no rate was found, from a value of {value} and a slope of {slope}, which must be "
        "below 0. The last, {rate}, violates the decrease by {decrease} and the curvature by {curvature}; the best "
        "after which the function has fallen enough is {safe}, 0 if there is none. A larger max_learning_rate or "
        "max_linesearch_steps may help, and float64 if rates come close to rounding."
    )
    jax.lax.cond(
        search.failed,
        lambda: jax.debug.print(
            message, value=begin.value, slope=begin.slope, rate=search.last.rate, decrease=search.decrease_error,
            curvature=search.curvature_error, safe=search.safe.rate,
        ),
        lambda: None,
    )  # fmt: skip
