"""The gradient of a batch from parts of it, one after another: as much memory as a part takes, and the same numbers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.gradients import Gradient, LossLike, Penalised, scaled_by
from jaxnn.layers._deferred import DeferredDense
from jaxnn.layers._layer import Layer, LayerLike, as_layer, outline
from jaxnn.training import Trainer, TrainState
from jaxnn.typing import Array, Data, Deferred, accumulator_dtype

Road = Callable[[LayerLike, LossLike], Gradient]


def micro_batched(road: Road, size: int | np.integer) -> "MicroBatched":
    """Return a road that takes a batch `size` examples at a time, and gives value and gradient of the whole.

    The whole is a mean of the parts, weighed by W_k, the sum of the weights of part k, or of its examples:

        g = sum_k W_k g_k / sum_k W_k

    which holds for weights of examples and of tokens alike. Parts are as even as can be: 10 examples, 6 at a time, are
    two parts of 5. Where they cannot be, the last one is filled up with some of the part before it, whose weight is
    then 0. If all weights are 0, value and gradient are.

    What differs from the whole batch is what layers make of a batch: `BatchNorm` takes means over a part, and its
    running ones move once a part; dropout draws anew for each, from the key folded in with its number; and a state that
    has the batch for an axis, such as a stateful `LSTM`'s, does not fit. What layers add to the loss, which is a mean
    over a part, is weighed by W_k too: it is that of the whole batch if parts are even and nothing has a weight. A
    state keeps that of the last part. A batch of no more than `size` examples is taken as it is.

    A penalty goes round it, `with_penalty(micro_batched(by_hand, 32), penalty)`, and is computed once. Within it comes
    to the same, but where all weights are 0, and is computed for every part.

    `MultiSteps` in `jaxnn.optim` also gathers gradients, of batches that come one at a time, and means them equally.

    Args:
        road: `by_autodiff`, `by_hand`, or any other.
        size: Examples of a part, at least 1.

    Raises:
        TypeError: The road is none; the two may have changed places.
        ValueError: `size` is no integer, or below 1.

    >>> import jax, jaxnn as nn
    >>> model, batch = nn.Dense(1), nn.Data(jnp.array([[2.0], [1.0], [4.0]]), jnp.array([[3.0], [2.0], [4.0]]))
    >>> params = {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}
    >>> for road in (nn.by_hand, micro_batched(nn.by_hand, 2)):
    ...     value, _, grads = road(model, nn.losses.mse)(params, {}, {}, batch)
    ...     print(value.round(4), grads["w"].round(4))
    0.6667 [[-2.]]
    0.6667 [[-2.]]
    """
    hint = "\n  hint: micro_batched(by_hand, 32)"
    if not callable(road):
        raise TypeError(f"expected a road such as by_hand first, because it takes each part; got {road!r}{hint}")
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"expected size as an integer of 1 or more, because it counts examples; got {size!r}{hint}")
    return MicroBatched(road, int(size))


@final
@dataclass(frozen=True)
class MicroBatched:
    """A road that takes a batch in parts, as `micro_batched` makes it."""

    road: Road
    size: int

    def __call__(self, model: LayerLike, loss: LossLike) -> Gradient:
        """Return the gradient of the whole batch, part by part."""
        of_part = self.road(model, loss)

        def gradient(params, frozen, state, batch, *, key=None, loss_scale=None):
            n, size = batch.examples, self.size
            if n <= size:
                return of_part(params, frozen, state, batch, key=key, **scaled_by(loss_scale))
            parts = -(-n // size)
            size = -(-n // parts)  # as even as can be
            batch = batch.on_device()

            # The weights in `Deferred` are no rows: they are handed on from part to part, and not one for each.
            shared = ()
            if _defers(as_layer(model)):
                asked = jax.eval_shape(of_part, params, frozen, state, _part(batch, jnp.int32(0), size), key=key)
                shared = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), _apart(asked[1][1])[1])

            def add(carry, k):
                state, sums, _ = carry
                part = _part(batch, k, size)
                own = None if key is None else jax.random.fold_in(key, k)
                value, (state, prediction), grads = of_part(
                    params, frozen, state, part, key=own, **scaled_by(loss_scale)
                )
                wide = accumulator_dtype(value.dtype)
                weight = jnp.asarray(size, wide) if part.w is None else part.w.astype(wide).sum()
                sums = jax.tree.map(lambda s, g: s + weight.astype(s.dtype) * g.astype(s.dtype), sums, grads)
                rows, shared = _apart(prediction)
                return (state, sums, shared), (weight, value, rows)

            zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, accumulator_dtype(p.dtype)), params)
            (state, sums, shared), (weights, values, rows) = lax.scan(add, (state, zeros, shared), jnp.arange(parts))

            total = weights.sum()
            total = jnp.where(total == 0, 1, total)
            grads = jax.tree.map(lambda s, p: (s / total.astype(s.dtype)).astype(p.dtype), sums, params)
            value = ((weights * values.astype(weights.dtype)).sum() / total).astype(values.dtype)
            return value, (state, _together(jax.tree.map(lambda p: _joined(p, n), rows), shared)), grads

        return gradient


def largest_micro_batch(trainer: Trainer, train_state: TrainState, batch: Data, *, bytes: int) -> int:
    """Return the largest size of `micro_batched` with which a step of training needs at most so much memory.

    It asks the compiler, for the whole batch, then for half of it, and so on: of each step that is tried, which it
    compiles and does not run, how many bytes lie beside its arguments and results while it runs. Those come to the
    same for every size. What compilers of different devices need is different, so ask where the run will be.

    Args:
        trainer: Whose road, `trainer.gradient`, is to be taken in parts; one that is so already is taken anew.
        train_state: A state of it, or its outline.
        batch: A whole batch, or its outline.
        bytes: How many there are for what a step needs on its way.

    Returns:
        The size; if it is the batch's own there is no need for parts.

    Raises:
        ValueError: A step with one example at a time needs more, or the compiler does not say.

    >>> import jax, jaxnn as nn
    >>> trainer = nn.trainer(nn.serial(nn.Dense(256), nn.relu, nn.Dense(1)), nn.losses.mse, nn.sgd(0.1))
    >>> batch = nn.Data(jnp.zeros((512, 8)), jnp.zeros((512, 1)))
    >>> train_state = trainer.init(jax.random.key(0), batch.x)
    >>> largest_micro_batch(trainer, train_state, batch, bytes=2**30)
    512
    >>> largest_micro_batch(trainer, train_state, batch, bytes=2**19) < 512
    True
    """
    arguments = outline((train_state, batch))
    size = batch.examples
    while True:
        step = replace(trainer, gradient=_in_parts(trainer.gradient, size)).step
        memory = jax.jit(step).lower(*arguments).compile().memory_analysis()
        if memory is None:
            raise ValueError("expected a compiler that says how much memory a program needs, because sizes are chosen "
                             f"by it; got none on {jax.default_backend()}")  # fmt: skip
        needed = memory.temp_size_in_bytes
        if needed <= bytes:
            return size
        if size == 1:
            raise ValueError(
                f"expected at least {needed} bytes, because a step with one example at a time needs as many; got "
                f"{bytes}\n  hint: remat(...) remembers less of one example"
            )
        size = -(-size // 2)


def _in_parts(road: Road, size: int) -> Road:
    """Return the road in parts of this size, within a penalty if it has one, and not in those that it may have."""
    if isinstance(road, Penalised):
        return replace(road, road=_in_parts(road.road, size))
    return micro_batched(road.road if isinstance(road, MicroBatched) else road, size)


def _part(batch: Data, k: Array, size: int) -> Data:
    """Return part k of the batch.

    The last part ends where the batch does. So it may begin within the one before it: what was there has weight 0.
    """
    n = batch.examples
    begin = jnp.minimum(k * size, n - size)
    part = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, size), batch)
    if n % size == 0:
        return part
    new = begin + jnp.arange(size) >= k * size
    w = jnp.ones(size, jnp.float32) if part.w is None else part.w
    new = jnp.broadcast_to(new.reshape(size, *(1,) * (w.ndim - 1)), w.shape)
    return part._replace(w=jnp.where(new, w, jnp.zeros_like(w)))


def _defers(layer: Layer) -> bool:
    """Whether a model puts out `Deferred`, or a part of it does."""
    return isinstance(layer, DeferredDense) or any(map(_defers, layer.children.values()))


def _apart(prediction: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the rows of a prediction, and the weights in each `Deferred`, in whose place there is None."""
    leaves, structure = jax.tree.flatten(prediction, is_leaf=_is_deferred)
    rows = [Deferred(leaf.x, None) if _is_deferred(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, rows), tuple(leaf[1:] for leaf in leaves if _is_deferred(leaf))


def _together(rows: Any, shared: tuple[Any, ...]) -> Any:
    """Return the prediction of which these are the parts."""
    leaves, structure = jax.tree.flatten(rows, is_leaf=_is_deferred)
    weights = iter(shared)
    whole = [Deferred(leaf.x, *next(weights)) if _is_deferred(leaf) else leaf for leaf in leaves]
    return jax.tree.unflatten(structure, whole)


def _is_deferred(leaf: Any) -> bool:
    return isinstance(leaf, Deferred)


def _joined(parts: Array, n: int) -> Array:
    """Return rows of parts as rows of the batch: `(parts, size, ...)` to `(n, ...)`."""
    count, size, *shape = parts.shape
    before = (count - 1) * size
    rows = parts.reshape(count * size, *shape)
    return rows if before + size == n else jnp.concatenate([rows[:before], rows[before + size - (n - before) :]])
