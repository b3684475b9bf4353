"""A run whose gradient takes little memory: the steps of `fit` in segments that the backward computes again."""

import math
from collections.abc import Callable
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.optim._on_validation import ReduceOnValidationState
from jaxnn.training import SHUFFLE, Trainer, TrainState, shuffled
from jaxnn.training._checks import check_between_epochs, count
from jaxnn.training._compiled import compiled
from jaxnn.training._evaluate import weights
from jaxnn.training._plan import Plan, planned
from jaxnn.typing import Array, Data


def checkpointed_fit(
    trainer: Trainer,
    train_state: TrainState,
    data: Data,
    *,
    epochs: SupportsIndex,
    batch_size: SupportsIndex,
    shuffle: bool = True,
    drop_remainder: bool = False,
    segment: SupportsIndex | None = None,
) -> tuple[TrainState, dict[str, Array]]:
    """Train as `fit` does, step by step the same, in a way whose gradient takes the memory of sqrt(n) of n steps.

    The gradient of a run goes back through all its steps, and needs of each what the forward met there. Here the steps
    are in segments of k. Only the train states between segments are kept, n / k of them; the backward runs a segment
    again, keeps what its k steps remember, goes back through it and lets it go. With k = sqrt(n) both are sqrt(n), for
    the price of one more forward. `fit` keeps what all steps remember or, with `checkpoint`, a state for each epoch and
    the steps of one.

    A pure function, for `jit`, `vmap` and derivatives of both modes. It has what a gradient through a run needs of
    `fit`, and neither validation nor stopping: evaluate what it returns. Nor sampling: of some rows, the same in each
    epoch, it is given `data.take(rows)`.

    Args:
        trainer: What to train, and how; hyperparameters in it may be tracers.
        train_state: Where to begin, which may depend on hyperparameters too.
        data: Inputs, targets and optional weights.
        epochs: How many passes over the data.
        batch_size: Examples a step.
        shuffle: Whether every epoch has an order of its own.
        drop_remainder: Whether to leave out the batch that would have to be filled up.
        segment: How many steps a segment has, k; by default about sqrt(n). Fewer take less memory where what a step
            remembers, all outputs of a batch, is larger than the train state.

    Returns:
        The last train state, and the history: `"loss"` of every epoch, shape `(epochs,)`.

    Raises:
        TypeError, ValueError, ShapeError: As `fit` does. And the optimizer waits for rows of a history
            (`reduce_on_validation`), which there are none of.

    >>> import jax, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> train = nn.Data(x, 3 * x + 1)
    >>> def run(rate):
    ...     t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.adam(rate))
    ...     ts, _ = nn.search.checkpointed_fit(t, t.init(jax.random.key(0), x), train, epochs=20, batch_size=16)
    ...     return nn.evaluate(t, ts, train)
    >>> bool(jax.grad(run)(0.05) < 0)  # a higher rate would have got further
    True

    Source: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016), with steps in the
    place of layers; Maclaurin, Duvenaud and Adams, "Gradient-based hyperparameter optimization through
    reversible learning" (2015), for gradients through a run.
    """
    plan = planned(
        trainer, train_state, data, epochs=epochs, batch_size=batch_size, validation=None, metrics=(), stopping=None,
        shuffle=shuffle, drop_remainder=drop_remainder,
    )  # fmt: skip
    segment = None if segment is None else count(segment, "segment", why="it counts steps")
    check_between_epochs(train_state, "this makes whole ones")
    waits = lambda node: isinstance(node, ReduceOnValidationState)
    if any(map(waits, jax.tree.leaves(train_state.opt_state, is_leaf=waits))):
        raise ValueError("expected an optimizer without reduce_on_validation, because it waits for rows of a history, "
                         "and here there are none\n  hint: nn.fit(..., checkpoint=True)")  # fmt: skip
    return _checkpointed_fit((trainer, plan, segment), train_state, data)


@compiled
def _checkpointed_fit(
    static: tuple[Trainer, Plan, int | None], train_state: TrainState, data: Data
) -> tuple[TrainState, dict[str, Array]]:
    trainer, plan, segment = static
    data, n, b = data.on_device(), data.examples, plan.batch_size
    steps = plan.steps(n)
    first, key = train_state.epoch, jax.random.fold_in(train_state.key, SHUFFLE)

    def step(ts: TrainState, i: Array) -> tuple[TrainState, tuple[Array, Array]]:
        """Take step i of the run: the batch that `fit` has there, by its place in the order, which needs no memory."""
        epoch, position = first + i // steps, i % steps
        index = place = position * b + jnp.arange(b, dtype=jnp.int32)
        index = index % n
        if plan.shuffle:
            index = shuffled(jax.random.fold_in(key, epoch), index, n)
        batch = data.take(index)
        batch = batch._replace(w=weights(batch, place < n if steps * b > n else None))
        ts, info = trainer.step(ts._replace(epoch=epoch, position=position), batch)
        loss = info.loss.astype(jnp.result_type(float))
        return ts, (loss, jnp.asarray(b, loss.dtype) if batch.w is None else batch.w.sum().astype(loss.dtype))

    ts, (loss, weight) = checkpointed_scan(step, train_state, plan.epochs * steps, segment)
    loss, weight = (rows.reshape(plan.epochs, steps) for rows in (loss, weight))
    total = weight.sum(axis=1)
    loss = (loss * weight).sum(axis=1) / jnp.where(total == 0, 1, total)
    return ts._replace(epoch=first + plan.epochs, position=jnp.zeros_like(ts.position)), {"loss": loss}


def checkpointed_scan(
    body: Callable[[Any, Array], tuple[Any, Any]], init: Any, length: int, segment: int | None = None
) -> tuple[Any, Any]:
    """`lax.scan` of `body` over 0, 1, ..., length - 1, whose gradient keeps one carry for each segment of steps.

    Args:
        body: From carry and index to carry and what is stacked.
        init: The first carry.
        length: How many steps, at least 1.
        segment: How many of them are one segment; by default about the root of `length`.

    >>> checkpointed_scan(lambda x, i: (2 * x, i), 3, 5)
    (Array(96, dtype=int32, ...), Array([0, 1, 2, 3, 4], dtype=int32))
    """
    segment = min(segment or _near_the_root(length), length)
    whole, rest = divmod(length, segment)

    # Within a scan the compiler cannot merge the second forward with the first one, so it needs no barrier.
    again = jax.checkpoint(lambda carry, indices: lax.scan(body, carry, indices), prevent_cse=False)
    indices = jnp.arange(length, dtype=jnp.int32)
    carry, rows = lax.scan(again, init, indices[: whole * segment].reshape(whole, segment))
    rows = jax.tree.map(lambda leaf: leaf.reshape(whole * segment, *leaf.shape[2:]), rows)
    if not rest:
        return carry, rows
    last = jax.checkpoint(lambda carry, indices: lax.scan(body, carry, indices))
    carry, few = last(carry, indices[whole * segment :])
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), rows, few)


def _near_the_root(length: int) -> int:
    """How many steps a segment has: the root, or a divisor not far from it, for a shorter last one is compiled apart.

    >>> _near_the_root(200), _near_the_root(1024), _near_the_root(211)
    (10, 32, 15)
    """
    root = math.sqrt(length)
    divisors = [k for k in range(math.ceil(root / 2), math.floor(2 * root) + 1) if length % k == 0]
    return min(divisors, key=lambda k: max(k, length // k), default=math.ceil(root))
