"""Recurrence: what all cells have in common, which is how they are run over time, and backwards.

A cell makes of a carry and an input the next carry, whose first array is h, which is the output too. `over_time` runs
it as it is written: the reference. `forward` and `backward` take it apart, as a `Cell`: what needs the step before it,
a product with w_h and what goes element by element, is done step by step, and all else for all steps at once.

Dimensions: `batch`, `time`, `in`, `hidden`, and k gates of hidden features each. In here time comes first.

Where numbers are narrower than float32 the carry, its cotangent and all sums are float32; h is rounded for a product,
and so is what is remembered.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.errors import ShapeError
from jaxnn.ops._lengths import check_lengths, steps_within
from jaxnn.typing import AnyArray, Array, accumulator_dtype

Carry: TypeAlias = tuple[Array, ...]
"""h, and what else a cell hands on, each `(batch, hidden)`."""


class Cell(NamedTuple):
    """A cell in both directions, element by element. `z_x` is x w_x + b, and `z_h` is h w_h, of the h before.

    Attributes:
        step: `(carry, z_x, z_h) -> (carry, gates)`, of one step; `gates` is what there is to remember.
        slopes: `(before, after, gates) -> slopes`, of one step or of all: what the backward multiplies by. `before` and
            `after` are carries.
        back: `(d_after, slopes) -> (d_before, dz_x)`, of one step; of `d_before` what does not pass through z_h.
        within: `(dz_x, slopes) -> dz_h`, of one step or of all.
    """

    step: Callable[[Carry, Array, Array], tuple[Carry, Any]]
    slopes: Callable[[Carry, Carry, Any], Any]
    back: Callable[[Carry, Any], tuple[tuple[Array | None, ...], Array]]
    within: Callable[[Array, Any], Array]


class Weights(NamedTuple):
    """What a cell has learned: z_x = x w_x + b, and z_h = h w_h + b_h, of which b_h may be `None`."""

    w_x: Array
    w_h: Array
    b: Array
    b_h: Any = None


class Remembered(NamedTuple):
    """What a run remembers. The trace is the carry after each step and its gates, or the carry before each chunk."""

    x: Array
    begin: Carry
    weights: Weights
    lengths: Array | None
    trace: Any


def check_recurrence(
    x: AnyArray,
    carry: Mapping[str, AnyArray],
    w_x: AnyArray,
    w_h: AnyArray,
    b: AnyArray,
    lengths: AnyArray | None,
    *,
    gates: int,
    checkpoint: int | None,
) -> None:
    """Raise an error if these are not what a cell of so many gates is run over."""
    if w_h.ndim != 2 or w_h.shape[1] != gates * w_h.shape[0]:
        columns = "hidden" if gates == 1 else f"{gates} hidden"
        raise ShapeError(f"w_h of shape (hidden, {columns})", why="it makes the gates of h", got=tuple(w_h.shape))
    hidden, columns = w_h.shape
    if w_x.ndim != 2 or w_x.shape[1] != columns:
        raise ShapeError(f"w_x of shape (in, {columns})", why=f"w_h is {tuple(w_h.shape)}", got=tuple(w_x.shape))
    if b.shape != (columns,):
        raise ShapeError(f"b of shape ({columns},)", why=f"w_h is {tuple(w_h.shape)}", got=tuple(b.shape))
    if x.ndim != 3 or x.shape[-1] != w_x.shape[0]:
        raise ShapeError(
            f"x of shape (batch, time, {w_x.shape[0]})",
            why=f"w_x is {tuple(w_x.shape)}",
            got=tuple(x.shape),
            hint="a single feature is an axis too: x[..., None]" if x.ndim == 2 and w_x.shape[0] == 1 else None,
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because it is weighed and added up; got {x.dtype}: cast it first")
    for name, weight in (("w_x", w_x), ("w_h", w_h), ("b", b)):
        if weight.dtype != x.dtype:
            raise TypeError(f"expected x and {name} of one dtype, because they are multiplied or added; got {x.dtype} "
                            f"and {weight.dtype}: cast one of them")  # fmt: skip
    for name, begin in carry.items():
        if begin.shape != (x.shape[0], hidden):
            raise ShapeError(
                f"{name} of shape {(x.shape[0], hidden)}",
                why=f"x is {tuple(x.shape)} and w_h {tuple(w_h.shape)}",
                got=tuple(begin.shape),
            )
    check_lengths(x, lengths)
    if checkpoint is not None and (not isinstance(checkpoint, int) or checkpoint < 1):
        raise ValueError(f"expected a checkpoint of at least 1, because it is the length of a chunk; got {checkpoint}")


def over_time(
    cell: Callable[[Carry, Array], Carry], begin: Carry, x: Array, lengths: Array | None, *, reverse: bool
) -> tuple[Array, Carry]:
    """Return y and the last carry of `carry_t = cell(carry_(t-1), x_t)`, y_t = h_t: the reference."""
    steps, inside = _time_first(x, lengths)

    def step(carry, at):
        x_t, inside_t = at
        carry = _where(inside_t, cell(carry, x_t), carry)
        return carry, carry[0]

    end, h = lax.scan(step, _cast(begin, accumulator_dtype(x.dtype)), (steps, inside), reverse=reverse)
    return _output(h, inside, x), end


def forward(
    cell: Cell,
    x: Array,
    begin: Carry,
    weights: Weights,
    lengths: Array | None,
    *,
    reverse: bool,
    checkpoint: int | None,
) -> tuple[tuple[Array, Carry], Remembered]:
    """Return y and the last carry, and what is remembered."""
    steps, inside = _time_first(x, lengths, checkpoint)
    carry = _cast(begin, accumulator_dtype(x.dtype))
    if checkpoint is None:
        end, trace = _trace(cell, carry, steps, inside, weights, reverse)
        (h, *_), _ = trace
    else:

        def chunk(carry, at):
            steps, inside = at
            end, ((h, *_), _) = _trace(cell, carry, steps, inside, weights, reverse)
            return end, (carry, h)

        end, (trace, h) = lax.scan(chunk, carry, _cut((steps, inside), checkpoint), reverse=reverse)
        h = _joined(h)
    return (_output(h, inside, x), end), Remembered(x, begin, weights, lengths, trace)


def backward(
    cell: Cell, remembered: Remembered, d_out: tuple[Any, Any], *, reverse: bool, checkpoint: int | None
) -> tuple[Array, Carry, Weights]:
    """Return dx, d_begin and d_weights; with or without a b_h, also its cotangent."""
    x, begin, weights, lengths, trace = remembered
    dy, d_end = d_out
    wide = accumulator_dtype(x.dtype)
    if dy is None:
        dy = jnp.zeros((*x.shape[:2], weights.w_h.shape[0]), x.dtype)
    d_end = [jnp.zeros(a.shape, wide) if d is None else d.astype(wide) for d, a in zip(d_end, begin, strict=True)]
    steps, inside = _time_first(x, lengths, checkpoint)
    d_steps, _ = _time_first(dy, lengths, checkpoint)

    if checkpoint is None:
        d_begin, dx, d_weights = _backtrace(
            cell, _cast(begin, wide), trace, steps, inside, weights, d_steps, tuple(d_end), reverse
        )
    else:

        def chunk(so_far, at):
            d_carry, d_weights = so_far
            begin, steps, inside, d_steps = at
            _, trace = _trace(cell, begin, steps, inside, weights, reverse)
            d_carry, dx, more = _backtrace(cell, begin, trace, steps, inside, weights, d_steps, d_carry, reverse)
            return (d_carry, jax.tree.map(jnp.add, d_weights, more)), dx

        zeros = Weights(*(jnp.zeros(a.shape, wide) for a in (*weights[:3], weights.b)))
        chunks = trace, *_cut((steps, inside, d_steps), checkpoint)
        (d_begin, d_weights), dx = lax.scan(chunk, (tuple(d_end), zeros), chunks, reverse=not reverse)
        dx = _joined(dx)
    d_begin = tuple(d.astype(a.dtype) for d, a in zip(d_begin, begin, strict=True))
    return _batch_first(dx, x), d_begin, _cast(d_weights, x.dtype)


def _trace(cell, begin, x, inside, weights, reverse):
    """Run over the steps x. Return the last carry, and of each step the carry after it and the gates."""
    w_x, w_h, b, b_h = weights
    x_w = product(x, w_x)  # to which b is added step by step, for on a CPU all at once would need as much memory again

    def step(carry, at):
        x_w, inside = at
        new, gates = cell.step(carry, _plus(x_w, b), affine(carry[0], w_h, b_h))
        carry = _where(inside, new, carry)
        return carry, _cast((carry, gates), x.dtype)

    return lax.scan(step, begin, (x_w, inside), reverse=reverse)


def _backtrace(cell, begin, trace, x, inside, weights, dy, d_end, reverse):
    """Run back over the steps x. Return d_begin, dx and d_weights.

    A step makes of the cotangent of the carry after it, to which dy is added, that of z_x, of z_h and of the carry
    before it, with dh_(t-1) = dz_h w_h^T + what does not pass through z_h. All steps then have
    dx_t = dz_x w_x^T, dw_x = sum x_t^T dz_x, dw_h = sum h_(t-1)^T dz_h, db = sum dz_x, db_h = sum dz_h.
    """
    w_x, w_h, *_ = weights
    w_h_T = lax.optimization_barrier(w_h.T)  # once, not in every step: on a CPU a third of its product
    wide = accumulator_dtype(x.dtype)
    after, gates = trace
    # What goes element by element is done step by step: of all steps at once it took more time, and memory. The carry
    # before the first step is `begin`; what is read in its place there, of no step, is not used.
    first, back = (len(x) - 1, 1) if reverse else (0, -1)

    def step(d_after, at):
        t, dy, now, gates, inside = at
        before = tuple(jnp.where(t == first, a, b[t + back].astype(wide)) for a, b in zip(begin, after, strict=True))
        slopes = cell.slopes(before, _cast(now, wide), _cast(gates, wide))
        dh, *others = d_after
        (dh, *others), dz_x = cell.back((dh + dy.astype(wide), *others), slopes)
        through = product(cell.within(dz_x, slopes), w_h_T)
        d_before = through if dh is None else dh + through, *others
        return _where(inside, d_before, d_after), _where(inside, dz_x, 0).astype(x.dtype)

    times = jnp.arange(len(x), dtype=jnp.int32)
    d_begin, dz_x = lax.scan(step, d_end, (times, dy, after, gates, inside), reverse=not reverse)
    before = tuple(_shifted(a, b.astype(a.dtype), reverse) for a, b in zip(after, begin, strict=True))
    dz_h = cell.within(dz_x, cell.slopes(before, after, gates))
    d_weights = Weights(_weigh(x, dz_x), _weigh(before[0], dz_h), dz_x.sum((0, 1), wide), dz_h.sum((0, 1), wide))
    return d_begin, product(dz_x, w_x.T).astype(x.dtype), d_weights


# Arithmetic.


def product(a: Array, w: Array) -> Array:
    """Return a w, with a rounded to the dtype of w, added up in float32 at least."""
    return jnp.matmul(a.astype(w.dtype), w, preferred_element_type=accumulator_dtype(w.dtype))


def affine(a: Array, w: Array, b: Array | None) -> Array:
    """Return a w + b in float32 at least; b may be `None`."""
    return _plus(product(a, w), b)


def _plus(y, b):
    return y if b is None else y + jnp.broadcast_to(b.astype(y.dtype), y.shape)


def _weigh(a, d):
    """The sum of a^T d over time and batch."""
    # A product that has to transpose on its way is the slower one on CPUs.
    columns = lax.optimization_barrier(a.astype(d.dtype).reshape(-1, a.shape[-1]).T)
    return product(columns, d.reshape(-1, d.shape[-1]))


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)) as 1/2 + 1/2 tanh(z / 2), which costs less than an exponential and a quotient."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * z)


# Time.


def _time_first(x, lengths, chunk=None):
    """The steps of x, `(time, batch, ...)`, 0 beyond the lengths; and which are within, `(time, batch, 1)`, or `None`.

    With chunks there are so many that the last is full; what fills it lies beyond all lengths.
    """
    batch, time = x.shape[:2]
    missing = 0 if chunk is None else -time % chunk
    if missing:
        x = jnp.pad(x, ((0, 0), (0, missing), (0, 0)))
        lengths = jnp.full(batch, time, jnp.int32) if lengths is None else jnp.minimum(lengths, time)
    steps = jnp.swapaxes(x, 0, 1)
    if lengths is None:
        return steps, None
    inside = steps_within(lengths, time + missing).T[..., None]
    return _where(inside, steps, 0), inside


def _output(h, inside, x):
    """The output y, which is h, but 0 beyond the lengths."""
    return _batch_first(_where(inside, h, 0).astype(x.dtype), x)


def _batch_first(steps, x):
    """The steps as `(batch, time, ...)`, as many as x has."""
    return jnp.swapaxes(steps[: x.shape[1]], 0, 1)


def _shifted(after, begin, reverse):
    """The carry before each step, given that after each and that with which it begins."""
    return jnp.concatenate([after, begin[None]])[1:] if reverse else jnp.concatenate([begin[None], after])[:-1]


def _where(inside: Array | None, new: Any, old: Any) -> Any:
    """The new where inside, else the old, which is a carry or 0."""
    if inside is None:
        return new
    if not isinstance(old, tuple):
        return jnp.where(inside, new, old)
    return tuple(jnp.where(inside, a, b) for a, b in zip(new, old, strict=True))


def _cut(trees: Any, chunk: int) -> Any:
    """Time cut into chunks, as an axis in front."""
    return jax.tree.map(lambda a: a.reshape(a.shape[0] // chunk, chunk, *a.shape[1:]), trees)


def _joined(chunks):
    """The chunks one after another again."""
    return chunks.reshape(chunks.shape[0] * chunks.shape[1], *chunks.shape[2:])


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(dtype), tree)
