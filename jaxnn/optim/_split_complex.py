"""Complex parameters as pairs of real ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._optimizer import Optimizer


class SplitRealAndImaginaryArrays(NamedTuple):
    """What stands in the place of a complex array, in the state of the inner optimizer."""

    real: Any
    imaginary: Any


class SplitRealAndImaginaryState(NamedTuple):
    """State of `split_real_and_imaginary`."""

    inner_state: Any


def split_real_and_imaginary(inner: Optimizer) -> optax.GradientTransformationExtraArgs:
    """Let an optimizer see the real and the imaginary part of each complex leaf as two leaves; real ones stay one.

    So that Adam, say, has a square for each of the two, rather than one of complex numbers. The gradient that
    `jax.grad` returns for a complex parameter is the conjugate of the direction of ascent: conjugate it first.

    Args:
        inner: Any optimizer; extra arguments of `update` are handed on as they are.

    >>> from jaxnn.optim import adam
    >>> optimizer, z = split_real_and_imaginary(adam(0.1)), jnp.array(3.0 - 4.0j)
    >>> optimizer.update(z, optimizer.init(z), z)[0]
    Array(-0.1+0.1j, dtype=complex64)

    The names are optax's.
    """
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return SplitRealAndImaginaryState(inner.init(_split(params)))

    def update(updates, state, params=None, **extra):
        pairs, inner_state = inner.update(_split(updates), state.inner_state, _split(params), **extra)
        return _joined(pairs), SplitRealAndImaginaryState(inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _split(tree: Any) -> Any:
    pair = lambda x: SplitRealAndImaginaryArrays(x.real, x.imag) if jnp.iscomplexobj(x) else x
    return jax.tree.map(pair, tree)


def _joined(tree: Any) -> Any:
    is_pair = lambda x: isinstance(x, SplitRealAndImaginaryArrays)
    return jax.tree.map(lambda x: jax.lax.complex(*x) if is_pair(x) else x, tree, is_leaf=is_pair)
