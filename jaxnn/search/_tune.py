"""Tuning: hyperparameters that follow their own gradient, one whole run a step."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn import tree
from jaxnn.errors import values
from jaxnn.optim import Optimizer, with_extra_args_support
from jaxnn.optim._checks import check_not_nan
from jaxnn.search._hypergradient import Mode, Run, hypergradient, numbers
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled, transforming
from jaxnn.training._scan_while import missing
from jaxnn.typing import Array, Scalar

Scale = Literal["linear", "log", "logit"]
_TO = {"linear": lambda h: h, "log": jnp.log, "logit": lambda h: jnp.log(h) - jnp.log1p(-h)}
_FROM = {"linear": lambda z: z, "log": jnp.exp, "logit": jax.nn.sigmoid}
_INSIDE = {"log": ("above 0", lambda h: h > 0), "logit": ("between 0 and 1", lambda h: (h > 0) & (h < 1))}


class Tuned(NamedTuple):
    """Hyperparameters that were found, and the way there: row k is of run k.

    >>> import jaxnn as nn
    >>> found = nn.search.tune(lambda h: (h - 1.0) ** 2, 3.0, nn.sgd(0.5), runs=3)
    >>> found.hyperparameters, found.trajectory, found.values
    (Array(1., dtype=float32), Array([3., 1., 1.], dtype=float32), Array([4., 0., 0.], dtype=float32))
    """

    hyperparameters: Any  # those of the best run, like the first ones
    value: Array  # that it gave, shape ()
    trajectory: Any  # of hyperparameters, each leaf (runs, ...)
    values: Array  # what each run gave, not finite where it diverged; shape (runs,)
    grads: Any  # of each run by hyperparameters on their scales, each leaf (runs, ...)
    diverged: Array  # whether a run did, shape (runs,)


class _Place(NamedTuple):
    z: Any  # hyperparameters on their scales, of the last run that did not diverge
    opt_state: Any
    updates: Any  # the step from there, as the optimizer has it
    shrink: Array  # the part of it that is taken, shape ()
    best: tuple[Any, Array]  # infinite before the first good run


def tune(
    run: Run,
    hyperparameters: Any,
    optimizer: Optimizer,
    *,
    runs: SupportsIndex,
    scales: Mapping[str, Scale] | None = None,
    mode: Mode = "reverse",
    diverged_above: Scalar = jnp.inf,
) -> Tuned:
    """Descend from hyperparameters along the hypergradient, a whole run at each step, in one compiled program.

    Each run is differentiated by `hypergradient`, and the optimizer moves the hyperparameters as it would move
    parameters. They move on scales: with `"log"` it is log h that moves, so that h stays above 0 and a step is a ratio;
    with `"logit"` it is log(h / (1 - h)), for what is between 0 and 1, such as momentum. The gradient by log h is
    h dF/dh.

    Hypergradients may be of any size, small where a run has converged and huge near the edge of diverging. An
    optimizer that makes steps of one length of them, such as `nn.adam(0.1)`, which changes what is on a log scale by
    about a tenth a step, is safer than `sgd`, or clip them.

    A run that diverged, with a value or a gradient that is not finite, or with a value above `diverged_above`, moves
    nothing: the next run is half of the step from the last good place, then a quarter, and the optimizer sees nothing
    of it. After a good run the part doubles again, up to the whole.

    A pure function: `jit` and `vmap`, over beginnings and over what the run closes over, apply to it. Called by itself
    it compiles once for the same `run`, optimizer and shapes. What it finds is a minimum near its beginning, and of the
    validation data that it has looked at, so judge it on other data.

    Args:
        run: From hyperparameters to the number that is to become small. Random parts, such as keys of the run, are the
            same at each step, unless it takes them from what changes.
        hyperparameters: Where to begin, a number or any tree of them, real and floating.
        optimizer: One of `jaxnn.optim` or of optax, without a line search. Each update has `value` and `grad`.
        runs: How many whole runs to make, the first of them at the beginning.
        scales: `"log"`, `"logit"` or `"linear"` by regular expressions for whole names, as of parameters: the first
            that matches holds, and what none matches is linear. A lone number has the name `""`.
        mode: That of `hypergradient`.
        diverged_above: A value that is as bad as infinity, such as twice the loss of chance; may be a tracer. Without
            it, one finite but huge gradient dwarfs all others in the averages of an optimizer.

    Returns:
        The best hyperparameters and their value, and those of all runs.

    Raises:
        TypeError: As `hypergradient`; the optimizer is none, or `runs` no int.
        ValueError: `runs` is below 1; a scale is none of these, or a pattern matches nothing; a hyperparameter on a log
            scale is not above 0, on a logit scale not between 0 and 1. Or the first run diverged, so no gradient says
            where to go: within `jit` and `vmap`, where that cannot be seen, the best value is infinite.
        ShapeError: The run gives no single number.

    >>> import jaxnn as nn
    >>> wave = lambda x: nn.Data(x, jnp.sin(3 * x))
    >>> train, test = wave(jnp.linspace(-1, 1, 32)[:, None]), wave(jnp.array([[0.3], [0.6]]))
    >>> def run(h):
    ...     t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(h["rate"], momentum=h["momentum"]))
    ...     ts, _ = nn.search.checkpointed_fit(t, t.init(jax.random.key(0), train.x), train, epochs=4, batch_size=8)
    ...     return nn.evaluate(t, ts, test)
    >>> begin, scales = {"rate": 0.001, "momentum": 0.5}, {"rate": "log", "momentum": "logit"}
    >>> found = nn.search.tune(run, begin, nn.adam(0.5), runs=10, scales=scales)
    >>> float(found.value) < 0.5 * float(found.values[0])
    True

    Source: Bengio, "Gradient-based optimization of hyperparameters" (2000); Maclaurin, Duvenaud and Adams,
    "Gradient-based hyperparameter optimization through reversible learning" (2015).
    """
    runs = count(runs, "runs", why="each is a step")
    check_not_nan("values are compared with it", diverged_above=diverged_above)
    if not isinstance(optimizer, tuple):  # optax's are named tuples
        raise TypeError(
            f"expected an optimizer, such as nn.adam(0.1), because it moves hyperparameters; got {optimizer!r}"
        )
    begin = numbers(hyperparameters, "hyperparameters")
    scale_of = _scales(begin, scales or {})
    _check_inside(begin, scale_of)
    static = run, optimizer, runs, mode, tuple(scale_of.items())
    found = _tune(static, begin, jnp.asarray(diverged_above, jnp.result_type(float)))
    if not transforming() and bool(found.diverged[0]):
        raise ValueError(
            "expected a first run that does not diverge, because its gradient says where to go; got the value "
            f"{found.values[0]} and the gradient {found.grads}\n"
            "  hint: begin with a smaller learning rate; nn.find_learning_rate suggests one"
        )
    return found


@compiled
def _tune(
    static: tuple[Run, Optimizer, int, Mode, tuple[tuple[str, Scale], ...]], begin: Any, diverged_above: Array
) -> Tuned:
    run, optimizer, runs, mode, scales = static
    optimizer, scale_of = with_extra_args_support(optimizer), dict(scales)
    scaled = lambda maps, h: tree.map_named(lambda name, leaf: maps[scale_of[name]](leaf), h)
    run_at = lambda z: run(scaled(_FROM, z))

    look = lambda z: hypergradient(run_at, z, mode=mode)
    unseen = lambda z: jax.tree.map(lambda leaf: missing(leaf.shape, leaf.dtype), jax.eval_shape(look, z))

    def step(at: _Place, k: Array) -> tuple[_Place, Any]:
        z = jax.tree.map(lambda z, update: z + at.shrink.astype(z.dtype) * update, at.z, at.updates)
        lost = (k > 0) & jnp.isinf(at.best[1])  # all further runs would be the first one again
        value, grads = lax.cond(lost, unseen, look, z)
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, grads))]).all()
        good = finite & (value <= diverged_above.astype(value.dtype))
        updates, opt_state = optimizer.update(grads, at.opt_state, z, value=value, grad=grads)
        took = z, opt_state, updates
        here, opt_state, updates = jax.tree.map(lambda new, old: jnp.where(good, new, old), took, at[:3])
        shrink = jnp.where(good, jnp.minimum(2 * at.shrink, 1), at.shrink / 2)
        better = good & (value < at.best[1])
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (z, value), at.best)
        return _Place(here, opt_state, updates, shrink, best), (scaled(_FROM, z), value, grads, ~good)

    z = scaled(_TO, begin)
    worst = jnp.full((), jnp.inf, jax.eval_shape(look, z)[0].dtype)
    still = jax.tree.map(jnp.zeros_like, z)
    at = _Place(z, optimizer.init(z), still, jnp.ones(()), (z, worst))
    at, rows = lax.scan(step, at, jnp.arange(runs))
    return Tuned(scaled(_FROM, at.best[0]), at.best[1], *rows)


def _scales(hyperparameters: Any, scales: Mapping[str, Scale]) -> dict[str, Scale]:
    """The scale of each hyperparameter, by its name."""
    unknown = {scale for scale in scales.values() if scale not in _TO}
    if unknown:
        raise ValueError(f"expected scales of {', '.join(map(repr, _TO))}, because these are what there is; got "
                         f"{', '.join(map(repr, unknown))}")  # fmt: skip
    tree.mask(hyperparameters, scales)  # raises an error for a pattern that matches nothing

    def first(name: str) -> Scale:
        for pattern, scale in scales.items():
            if re.fullmatch(pattern, name):
                return scale
        return "linear"

    return {name: first(name) for name in tree.named_leaves(hyperparameters)}


def _check_inside(hyperparameters: Any, scale_of: Mapping[str, Scale]) -> None:
    for name, leaf in tree.named_leaves(hyperparameters).items():
        expected, inside = _INSIDE.get(scale_of[name], ("", lambda h: h == h))
        seen = values(leaf)
        if seen is not None and not np.all(inside(seen)):
            raise ValueError(f"expected {name or 'the hyperparameter'} {expected or 'that is a number'}, because it is "
                             f"on a {scale_of[name]} scale; got {seen}")  # fmt: skip
