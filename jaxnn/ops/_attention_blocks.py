"""Attention by blocks of queries and keys: a softmax is put together from its parts.

Dimensions: q, y `(batch, kv_heads, group, time, ...)`, k, v `(batch, kv_heads, memory, ...)`; q is scaled already. What
there is one of for a query, such as a maximum, has a last axis of 1.

Source: Rabe and Staats, "Self-attention does not need O(n^2) memory" (2021); Dao et al., "FlashAttention" (2022).
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.typing import accumulator_dtype

# Where causality excludes a part of the memory that is worth a product of its own, and where all of the program for it
# need not be a loop: on a CPU it takes an eighth off a transformer's step at 128 queries.
STRIP, MOST_STRIPS = 64, 16


class Grid(NamedTuple):
    """How queries and keys are cut into blocks of one size, of which the last is filled up."""

    time: int
    memory: int
    causal: bool
    rows: int  # queries of a block
    columns: int  # keys of a block

    @classmethod
    def of(cls, q, k, *, causal: bool, block: int | None = None) -> "Grid":
        """Return one block if that has no more than `block`^2 scores, else blocks of at most `block` queries.

        If it is causal, strips of queries come before one block.
        """
        time, memory = q.shape[-2], k.shape[-2]
        if block is not None and causal and STRIP < time <= STRIP * MOST_STRIPS and STRIP * memory <= block**2:
            return cls(time, memory, causal, _even(time, STRIP), memory)
        if block is None or time * memory <= block**2:
            return cls(time, memory, causal, time, memory)
        rows = _even(time, block)
        return cls(time, memory, causal, rows, _even(memory, block**2 // rows))

    @property
    def single(self) -> bool:
        """Whether there is but one block."""
        return (self.rows, self.columns) == (self.time, self.memory)

    @property
    def strips(self) -> list[tuple[slice, slice, "Grid"]]:
        """Of each strip the queries, what they may see of the memory, and it alone; none if strips are no use."""
        if not self.causal or self.columns < self.memory or self.time > MOST_STRIPS * self.rows:
            return []
        begins = range(0, self.time, self.rows)
        ends = [min(begin + self.rows, self.time) for begin in begins]
        seen = [min(max(end + self.memory - self.time, 1), self.memory) for end in ends]
        return [
            (slice(begin, end), slice(n), self._replace(rows=end - begin, columns=n))
            for begin, end, n in zip(begins, ends, seen, strict=True)
        ]

    @property
    def places(self) -> np.ndarray:
        """The first query and the first key of every block, `(blocks, 2)`, but of those that causality excludes."""
        first = np.mgrid[0 : self.time : self.rows, 0 : self.memory : self.columns].reshape(2, -1).T.astype(np.int32)
        last_query = np.minimum(first[:, 0] + self.rows, self.time) - 1
        return first[first[:, 1] <= last_query + self.memory - self.time] if self.causal else first

    def seen(self, mask, place=(0, 0)):
        """Whether each query of the block at a place sees each of its keys, or `None` if all see all."""
        row, column = place
        query = row + jnp.arange(self.rows, dtype=jnp.int32)[:, None]
        key = column + jnp.arange(self.columns, dtype=jnp.int32)[None, :]
        if self.causal:
            near = key <= query + (self.memory - self.time)
        elif self.memory % self.columns:
            near = jnp.broadcast_to(key < self.memory, (self.rows, self.columns))
        else:
            near = None
        if mask is not None:
            mask = _cut(_cut(mask, row, self.rows, axis=-2), column, self.columns, axis=-1)
        if near is None or mask is None:
            return mask if near is None else near[None, None, None]
        return mask & near[None, None, None]


def forward(q, k, v, mask, *, causal, block):
    """Return y, and of each query log sum_m exp(s_m), infinite where nothing is seen.

    Of each part of the memory there is the maximum m of s, the sum l of exp(s - m), and that of exp(s - m) v. Two
    parts are put together by bringing both to the larger m.
    """
    grid = Grid.of(q, k, causal=causal, block=block)
    if grid.single:
        return _finished(_part(q, k, v, grid.seen(mask)))
    if grid.strips:
        parts = [
            _finished(_part(q[..., rows, :], k[..., columns, :], v[..., columns, :], strip.seen(mask, (rows.start, 0))))
            for rows, columns, strip in grid.strips
        ]
        y, log_sum = (jnp.concatenate(a, axis=-2) for a in zip(*parts, strict=True))
        return y, log_sum
    q, k, v, mask = _filled(grid, q, k, v, mask)

    def step(so_far, place):
        row, column = place
        rows, columns = lambda a: _cut(a, row, grid.rows), lambda a: _cut(a, column, grid.columns)
        part = _part(rows(q), columns(k), columns(v), grid.seen(mask, place))
        together = _together(tuple(map(rows, so_far)), part)
        return tuple(_put(a, new, row) for a, new in zip(so_far, together, strict=True)), None

    queries, wide = q.shape[:-1], accumulator_dtype(q.dtype)
    lowest = jnp.full((*queries, 1), jnp.finfo(wide).min, wide)
    nothing = lowest, jnp.zeros_like(lowest), jnp.zeros((*queries, v.shape[-1]), wide)
    parts, _ = lax.scan(step, nothing, grid.places)
    y, log_sum = _finished(parts)
    return y[..., : grid.time, :], log_sum[..., : grid.time, :]


def backward(q, k, v, mask, dy, log_sum, dy_y, *, causal, block):
    """Return dq, dk and dv, given dy, and of each query log sum_m exp(s_m) and dy . y.

    Every block adds its share; p = exp(s - log_sum) is computed again.
    """
    grid = Grid.of(q, k, causal=causal, block=block)
    if grid.single:
        return _share(q, k, v, grid.seen(mask), dy, log_sum, dy_y)
    if grid.strips:
        dqs, dk, dv = [], jnp.zeros(k.shape, log_sum.dtype), jnp.zeros(v.shape, log_sum.dtype)
        for rows, columns, strip in grid.strips:
            of_queries = (a[..., rows, :] for a in (dy, log_sum, dy_y))
            seen = strip.seen(mask, (rows.start, 0))
            dq, dk_more, dv_more = _share(q[..., rows, :], k[..., columns, :], v[..., columns, :], seen, *of_queries)
            dqs.append(dq)
            dk, dv = dk.at[..., columns, :].add(dk_more), dv.at[..., columns, :].add(dv_more)
        return jnp.concatenate(dqs, axis=-2), dk, dv
    q, k, v, mask = _filled(grid, q, k, v, mask)
    dy, dy_y = (_fill(a, grid.rows) for a in (dy, dy_y))
    log_sum = _fill(log_sum, grid.rows, value=jnp.inf)  # so that p is 0 for queries that are none

    def step(so_far, place):
        row, column = place
        rows, columns = lambda a: _cut(a, row, grid.rows), lambda a: _cut(a, column, grid.columns)
        share = _share(rows(q), columns(k), columns(v), grid.seen(mask, place), rows(dy), rows(log_sum), rows(dy_y))
        (dq, dk, dv), (dq_more, dk_more, dv_more) = so_far, share
        return (
            _put(dq, rows(dq) + dq_more, row),
            _put(dk, columns(dk) + dk_more, column),
            _put(dv, columns(dv) + dv_more, column),
        ), None

    zeros = tuple(jnp.zeros(a.shape, log_sum.dtype) for a in (q, k, v))
    (dq, dk, dv), _ = lax.scan(step, zeros, grid.places)
    return dq[..., : grid.time, :], dk[..., : grid.memory, :], dv[..., : grid.memory, :]


def _part(q, k, v, seen):
    """m, l and sum exp(s - m) v of one block; where nothing is seen, the lowest of numbers, 0 and 0."""
    s = _scores(q, k, seen)
    m = s.max(-1, keepdims=True, initial=jnp.finfo(s.dtype).min)
    e = jnp.exp(s - m)
    return m, e.sum(-1, keepdims=True), _product("ntm,nmd->ntd", e.astype(v.dtype), v)


def _together(one, other):
    (m_one, *of_one), (m_other, *of_other) = one, other
    m = jnp.maximum(m_one, m_other)
    by_one, by_other = jnp.exp(m_one - m), jnp.exp(m_other - m)
    return m, *(a * by_one + b * by_other for a, b in zip(of_one, of_other, strict=True))


def _finished(part):
    m, l, y = part
    return y / jnp.where(l > 0, l, 1), jnp.where(l > 0, m + jnp.log(l), jnp.inf)


def _share(q, k, v, seen, dy, log_sum, dy_y):
    """What one block adds: dv = p^T dy; dp = dy v^T and ds = p (dp - dy . y), so dq = ds k and dk = ds^T q."""
    p = jnp.exp(_scores(q, k, seen) - log_sum)
    dv = _product("ntm,ntd->nmd", p.astype(dy.dtype), dy)
    ds = (p * (_product("ntd,nmd->ntm", dy, v) - dy_y)).astype(q.dtype)
    return _product("ntm,nmd->ntd", ds, k), _product("ntm,ntd->nmd", ds, q), dv


def _scores(q, k, seen):
    s = _product("ntd,nmd->ntm", q, k)
    return s if seen is None else jnp.where(seen, s, -jnp.inf)


def _product(indices, a, b):
    """A product for each head, with the queries of its group in a row: of three axes it takes less time and memory."""
    heads = a.shape[:2]
    in_a_row = lambda a: a.reshape(math.prod(heads), math.prod(a.shape[2:-1]), a.shape[-1])
    y = jnp.einsum(indices, in_a_row(a), in_a_row(b), preferred_element_type=accumulator_dtype(a.dtype))
    of_queries = indices[-2] == "t"
    return y.reshape(*(a.shape[:-1] if of_queries else (*heads, y.shape[1])), y.shape[-1])


def _even(n, most):
    """The size of the fewest blocks of at most so many, which are as equal as they can be."""
    return -(-n // -(-n // most))


def _filled(grid, q, k, v, mask):
    if mask is not None:
        mask = _fill(_fill(mask, grid.rows, axis=-2), grid.columns, axis=-1)
    return _fill(q, grid.rows), _fill(k, grid.columns), _fill(v, grid.columns), mask


def _fill(a, size, *, axis=-2, value=0.0):
    """Fill an axis up to a multiple of a block's size; one of length 1 stands for any."""
    missing = -a.shape[axis] % size
    if a.shape[axis] == 1 or not missing:
        return a
    widths = [(0, 0)] * a.ndim
    widths[axis] = (0, missing)
    return jnp.pad(a, widths, constant_values=value)


def _cut(a, start, size, *, axis=-2):
    """The part of a block; of what stands for all or is no longer, the whole."""
    return a if a.shape[axis] in (1, size) else lax.dynamic_slice_in_dim(a, start, size, axis)


def _put(a, part, start):
    return lax.dynamic_update_slice_in_dim(a, part, start, -2)
