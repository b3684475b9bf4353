"""The receptive field: how much of its input one position of a model's output depends on."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn._programs._dependence import follow
from jaxnn._programs._sight import Rate, Seen, Sight
from jaxnn.errors import ShapeError
from jaxnn.layers._layer import LayerLike, as_layer, outline
from jaxnn.ops import plain


@final
@dataclass(frozen=True)
class ReceptiveField:
    """What the positions of an array see of x along each spatial axis of x: `start + jump q` and `size - 1` more."""

    size: tuple[int, ...]  # positions that one sees, those on padding included
    jump: tuple[Rate | None, ...]  # from what one sees to what the next does; None if no axis is left to move along
    start: tuple[int, ...]  # where the first begins; below 0 it is on padding
    spatial: tuple[int, ...]  # the spatial axes of x

    @property
    def seen(self) -> tuple[int, ...]:
        """Positions of x that one position sees at most."""
        return tuple(map(min, self.size, self.spatial))

    @property
    def support(self) -> int:
        """Their number in all axes together: pixels, if x is an image."""
        return math.prod(self.seen)

    @property
    def steps(self) -> str:
        """The jump as a table has it: one number if it is the same along all axes."""
        if not any(self.jump):
            return ""
        return "x".join(str(jump or "-") for jump in (self.jump[:1] if len(set(self.jump)) == 1 else self.jump))

    def __str__(self) -> str:
        if self.seen == self.spatial and not any(self.jump):
            return "all"
        seen = "x".join(map(str, self.seen))
        return seen if len(self.seen) == 1 else f"{seen}={self.support}"


def receptive_field(model: LayerLike, x: Any) -> Any:
    """Return what a position of the model's output sees of x along each spatial axis; nothing is computed.

    A layer with windows of k taps, d apart, that move with a stride s lets a position of its output see

        size <- size + d (k - 1) jump,    jump <- jump s,

    both 1 to begin with. Here this is read off the program that the model is, so no layer has to say it of itself, and
    it holds for any function of JAX, branches and loops included: a residual block sees what both its ways see, and
    behind `flatten`, a pooling over all positions or attention a position sees all.

    It is an upper bound: in inference no output depends on more (in training a `BatchNorm` lets each see all positions
    of the batch), but not all of it need matter. Between windows, as between the taps of a dilated one, positions are
    counted too; and where a matrix or computed indices say what goes where, as in adaptive average pooling, all is.

    Spatial axes are those between the first and the last; of `(batch, time)` integers, time.

    Args:
        model: A layer.
        x: An input or its `ShapeDtypeStruct`, batch axis included.

    Returns:
        For each array that the model puts out `size`, `jump` and `start`, with a number for each spatial axis of x:
        position q sees the positions from start + jump q to start + jump q + size - 1, of which some may be padding
        (behind a transposed convolution that is so on average: its outputs come in groups that see the same).
        `jump` is `None` where the output has no axis left that moves along it, and a fraction where more than one
        output comes between two inputs. `support` is the number of pixels of x in a field.

    Raises:
        ShapeError: x is not one array with a spatial axis.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> block = nn.serial(nn.Conv(8, (3, 3), stride=2, padding="VALID"), nn.relu, nn.MaxPool((2, 2)))
    >>> field = nn.receptive_field(nn.serial(block, block), jnp.zeros((1, 64, 64, 3)))
    >>> field.size, field.jump, field.support
    ((21, 21), (16, 16), 441)

    Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks" (2019).
    """
    layer, x = as_layer(model), outline(x)
    axes = spatial_axes(x)
    if not axes:
        raise ShapeError(
            "x as one array with spatial axes, (batch, ..., features)",
            why="a receptive field is a part of them",
            got=jax.tree.map(lambda a: tuple(a.shape), x),
        )
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    with plain():
        program, y = jax.make_jaxpr(lambda *a: layer.apply(*a)[0], return_shape=True)(params, state, x)
    leaves, structure = jax.tree.flatten(y)
    seen = follow(program.jaxpr, seen_by_inputs(params, state, x), {})
    return jax.tree.unflatten(structure, [field(s, a, x) for s, a in zip(seen, leaves, strict=True)])


def spatial_axes(x: Any) -> range:
    """Return which axes of x are spatial; none if x is not one array.

    >>> [list(spatial_axes(a)) for a in (jnp.zeros((8, 28, 28, 3)), jnp.zeros((8, 3)), jnp.zeros((8, 100), int))]
    [[1, 2], [], [1]]
    """
    if not jax.tree_util.all_leaves([x]):
        return range(0)
    return range(1, 2 if x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.integer) else x.ndim - 1)


def seen_by_inputs(params: Any, state: Any, x: Any) -> list[Seen]:
    """Return what the inputs of `apply`'s program see: of x each element itself, and the others nothing."""
    own = tuple(Sight(tuple(int(a == axis) for a in range(x.ndim))) for axis in spatial_axes(x))
    return [*[None] * len(jax.tree.leaves((params, state))), own]


def field(seen: Seen, y: Any, x: Any) -> ReceptiveField | None:
    """Return the receptive field of a position of y, all its features together; `None` if it does not depend on x."""
    if seen is None or not jax.tree_util.all_leaves([y]):
        return None
    positions = spatial_axes(y)
    sights = [sight.folded(y.shape, set(range(y.ndim)) - set(positions)) for sight in seen]
    return ReceptiveField(
        tuple(map(_most, sights)),
        tuple(map(_jump, sights)),
        tuple(math.ceil(sight.lows[0]) for sight in sights),
        tuple(x.shape[axis] for axis in spatial_axes(x)),
    )


def _most(sight: Sight) -> int:
    """The most positions that an element sees: whole numbers between the lows and the highs."""
    repeats = [len(sight.lows) if axis == sight.axis else 1 for axis in range(len(sight.rates))]
    rates = [rate * n for rate, n in zip(sight.rates, repeats, strict=True)]  # from a step to the next that is like it
    parts = math.lcm(*(Fraction(rate).denominator for rate in rates))
    ends = [
        (low + part, high + part)
        for low, high in zip(sight.lows, sight.highs, strict=True)
        for part in (Fraction(part, parts) for part in range(parts))
    ]
    return max(math.floor(high) - math.ceil(low) + 1 for low, high in ends)


def _jump(sight: Sight) -> Rate | None:
    rate = min((Fraction(rate) for rate in sight.rates if rate), key=abs, default=None)
    return rate if rate is None or rate.denominator > 1 else rate.numerator
