"""What a row of the contract tests is, and the draws of which its inputs are made.

`arrays(random, batch, dtype)` makes the inputs of an op, and `x(random, batch, dtype)`
the input of a layer, from a NumPy generator, so that the same row serves every dtype and batch size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from jaxnn.layers import Layer

FEATURES, CLASSES, VOCABULARY = 4, 3, 7


@dataclass(frozen=True, eq=False)
class OpCase:
    name: str
    op: nn.Op
    arrays: Callable[[np.random.Generator, int, Any], tuple]
    settings: dict[str, Any] = field(default_factory=dict)
    empty: bool = True  # whether an empty batch makes sense
    mapped: bool = True  # whether every array can be given a further leading axis
    family: str = ""  # where one row of a family stands for all in the tests of wrong backwards
    exact: bool = True  # whether forward and plain are the same to the last bit, not only to rounding

    def __repr__(self):
        return self.name


def normal(*shape):
    """Numbers away from kinks: the tests of derivatives must not meet a relu at 0."""
    return lambda random, batch, dtype: _array(random.normal(size=_sized(shape, batch)), dtype)


def probabilities(*shape):
    def draw(random, batch, dtype):
        p = random.uniform(0.1, 1, size=_sized(shape, batch))
        return _array(p / p.sum(-1, keepdims=True), dtype)

    return draw


def unit(*shape):
    return lambda random, batch, dtype: _array(random.uniform(0.1, 0.9, size=_sized(shape, batch)), dtype)


def integers(high, *shape):
    return lambda random, batch, dtype: jnp.asarray(random.integers(0, high, size=_sized(shape, batch)), jnp.int32)


def onehot(*shape):
    def draw(random, batch, dtype):
        labels = random.integers(0, shape[-1], size=_sized(shape[:-1], batch))
        return _array(np.eye(shape[-1])[labels], dtype)

    return draw


def sequences(values):
    """`Sequences` of these values, `(batch, time, ...)`, of lengths 3, 2, 1, 0, and then from time down again."""

    def draw(random, batch, dtype):
        x = values(random, batch, dtype)
        return nn.Sequences(x, jnp.asarray((3 - np.arange(batch)) % (x.shape[1] + 1), jnp.int32))

    return draw


def fixed_key(random, batch, dtype):
    return jax.random.key(3)


def absent(random, batch, dtype):
    return None


def each(*draws):
    return lambda random, batch, dtype: tuple(draw(random, batch, dtype) for draw in draws)


def _sized(shape, batch):
    return tuple(batch if axis == "n" else axis for axis in shape)


def _array(values, dtype):
    return jnp.asarray(np.asarray(values).astype(dtype))


@dataclass(frozen=True, eq=False)
class LayerCase:
    name: str
    layer: Layer
    x: Callable[[np.random.Generator, int, Any], Any]
    hand: bool = True
    held: bool = False  # whether the backward of training holds fixed what does move with the parameters
    keeps: bool = True  # whether its dtypes are those of its input

    def __repr__(self):
        return self.name


B, F, C = "n", FEATURES, CLASSES
