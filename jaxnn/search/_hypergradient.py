"""Hypergradients: the derivative of what a run ends with by the hyperparameters that it began with."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import tree
from jaxnn.errors import ShapeError, describe
from jaxnn.ops import plain
from jaxnn.training._compiled import compiled
from jaxnn.typing import Array

Run = Callable[[Any], Any]
"""A whole run: from hyperparameters to a number, such as the loss of validation."""
Mode = Literal["reverse", "forward"]


def hypergradient(run: Run, hyperparameters: Any, *, mode: Mode = "reverse") -> tuple[Array, Any]:
    """Return what a run ends with, F(h), and its gradient dF/dh through all of the run's steps.

    A run is a function of hyperparameters to a number: it makes a trainer of them, trains, and evaluates. What they are
    is for the function to say: learning rates, of each layer or at points of a schedule, momentum, decay, penalties,
    weights of losses or examples, the scale of the first parameters. With the steps w_{t+1} = Phi_t(w_t, h), where w is
    the whole train state,

        dF/dh = dF/dw_T sum over t < T of A_{T-1} ... A_{t+1} B_t,   A_t = dPhi_t/dw_t,  B_t = dPhi_t/dh

    and in the same way what w_0 and F have of h themselves.

    Reverse mode multiplies from the left: one backward through the run for all hyperparameters, however many, that
    needs what every step met. `nn.search.checkpointed_fit` trains so that this takes the memory of sqrt(n) of n steps.
    Forward mode multiplies from the right: a tangent of the train state for each number in h goes along with the run,
    all of them at once, and no step is remembered. It takes the time and memory of as many runs as there are numbers:
    for few. Both give the same.

    Called by itself it compiles, once for the same `run` and shapes: so hand over one function, and not a new lambda
    every time. As with `jit`, the run must not depend on what may change. Within `jit` and `vmap` it is a part of
    what is compiled there.

    A gradient through a run that is at the edge of diverging, or chaotic, is huge and says little of the next larger
    step: see `nn.search.tune`. A run that diverged gives infinity or NaN.

    Args:
        run: From hyperparameters to a number. It draws nothing that is not in them or in keys of its own, so that
            both are of the same run.
        hyperparameters: A number or any tree of them, real and floating.
        mode: `"reverse"`, or `"forward"` for few hyperparameters. In forward mode ops are their plain functions, for
            installed rules are there for reverse mode; and a run with early stopping has no derivative.

    Returns:
        The value, shape (), and the gradient, like the hyperparameters.

    Raises:
        TypeError: A hyperparameter is not real and floating, such as the int 2 for 2.0, or there is none; or the run
            gives integers.
        ValueError: Another mode.
        ShapeError: The run gives no single number.

    >>> import jaxnn as nn
    >>> wave = lambda x: nn.Data(x, jnp.sin(3 * x))
    >>> train, test = wave(jnp.linspace(-1, 1, 32)[:, None]), wave(jnp.array([[0.3], [0.6]]))
    >>> def run(h):
    ...     t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(h["rate"], momentum=h["momentum"]))
    ...     ts, _ = nn.search.checkpointed_fit(t, t.init(jax.random.key(0), train.x), train, epochs=4, batch_size=8)
    ...     return nn.evaluate(t, ts, test)
    >>> h = {"rate": 0.01, "momentum": 0.5}
    >>> value, grads = nn.search.hypergradient(run, h)
    >>> float(run({"rate": 0.02, "momentum": 0.5}) - value) * float(grads["rate"]) > 0
    True
    >>> value, same = nn.search.hypergradient(run, h, mode="forward")
    >>> jnp.allclose(grads["momentum"], same["momentum"], rtol=1e-4)
    Array(True, dtype=bool)

    Source: Franceschi, Donini, Frasconi and Pontil, "Forward and reverse gradient-based hyperparameter optimization"
    (2017), for both modes; Maclaurin, Duvenaud and Adams, "Gradient-based hyperparameter optimization through
    reversible learning" (2015), who reverse the steps where ours computes segments of them again.
    """
    if mode not in ("reverse", "forward"):
        raise ValueError(f"expected mode of 'reverse' or 'forward', because these are the ways to go through a run; "
                         f"got {mode!r}")  # fmt: skip
    if not callable(run):
        raise TypeError(f"expected run to be a function of hyperparameters, because it is differentiated; got {run!r}")
    return _hypergradient((run, mode), numbers(hyperparameters, "hyperparameters"))


@compiled
def _hypergradient(static: tuple[Run, Mode], hyperparameters: Any) -> tuple[Array, Any]:
    run, mode = static
    F = lambda h: number(run(h), "the run")
    if mode == "reverse":
        return jax.value_and_grad(F)(hyperparameters)
    with plain():
        along = lambda direction: jax.jvp(F, (hyperparameters,), (direction,))
        value, slopes = jax.vmap(along, out_axes=(None, 0))(_directions(hyperparameters))
    leaves, structure = jax.tree.flatten(hyperparameters)
    parts = jnp.split(slopes, np.cumsum([leaf.size for leaf in leaves])[:-1])
    grads = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    return value, jax.tree.unflatten(structure, grads)


def _directions(like: Any) -> Any:
    """Return, stacked on a leading axis, the trees with 1 for one number and 0 for all others.

    >>> _directions({"a": jnp.array(3.0), "b": jnp.array([4.0, 5.0])})["b"].tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    leaves, structure = jax.tree.flatten(like)
    sizes = [leaf.size for leaf in leaves]
    columns = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    stacked = [jnp.asarray(c.reshape(-1, *leaf.shape), leaf.dtype) for c, leaf in zip(columns, leaves, strict=True)]
    return jax.tree.unflatten(structure, stacked)


def numbers(leaves: Any, name: str) -> Any:
    """Return a tree with arrays for its numbers, or raise an error if one of them has no derivative.

    Raises:
        TypeError: A leaf is no number, or not real and floating; or there is no leaf.
    """
    named = tree.named_leaves(leaves)
    if not named:
        raise TypeError(
            f"expected {name}, a number or a tree of them, because the gradient is by these; got {leaves!r}"
        )
    wrong = {path: leaf for path, leaf in named.items() if not _is_smooth(leaf)}
    if wrong:
        listed = ", ".join(f"{describe(leaf)} for {path}" if path else describe(leaf) for path, leaf in wrong.items())
        raise TypeError(
            f"expected {name} that are real and floating, because others have no derivative; got {listed}\n"
            "  hint: 2.0 for 2; what chooses a program, such as a width, belongs into the function"
        )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), leaves)  # no Python number, of weak type


def number(value: Any, what: str) -> Array:
    """Return a value as an array, or raise an error if it is no single, floating number.

    Raises:
        ShapeError: It is none, or several.
        TypeError: It is not real and floating.
    """
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0] is not value or jnp.shape(value) != ():
        raise ShapeError(
            f"{what} to give one number, of shape ()",
            why="it is that which is differentiated",
            got=describe(value) if leaves else repr(value),
            hint="return one figure, such as nn.evaluate(trainer, ts, data)",
        )
    if not _is_smooth(value):
        raise TypeError(f"expected {what} to give a real, floating number, because others have no derivative; got "
                        f"{describe(value)}")  # fmt: skip
    return jnp.asarray(value)


def _is_smooth(leaf: Any) -> bool:
    try:
        return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    except TypeError:  # a string, a function
        return False
