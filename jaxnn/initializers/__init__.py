"""Initialisers: settings that are called with `(key, shape, dtype)`, as those of `jax.nn.initializers` are.

Each is a frozen value that prints, compares, hashes and pickles, and a pure function of the key, so that any of them
can be compiled and mapped over keys. Its size (a scale, a standard deviation) may be an array or a tracer: two that
hold arrays are equal if these are, by shape, dtype and numbers, and one that holds a tracer does not hash.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.initializers._constant import Constant as Constant
    from jaxnn.initializers._constant import Identity as Identity
    from jaxnn.initializers._constant import constant as constant
    from jaxnn.initializers._constant import identity as identity
    from jaxnn.initializers._constant import ones as ones
    from jaxnn.initializers._constant import zeros as zeros
    from jaxnn.initializers._gain import gain as gain
    from jaxnn.initializers._gain import recommend_init as recommend_init
    from jaxnn.initializers._initializer import Initializer as Initializer
    from jaxnn.initializers._initializer import fans as fans
    from jaxnn.initializers._orthogonal import DeltaOrthogonal as DeltaOrthogonal
    from jaxnn.initializers._orthogonal import Orthogonal as Orthogonal
    from jaxnn.initializers._orthogonal import delta_orthogonal as delta_orthogonal
    from jaxnn.initializers._orthogonal import orthogonal as orthogonal
    from jaxnn.initializers._random import Normal as Normal
    from jaxnn.initializers._random import TruncatedNormal as TruncatedNormal
    from jaxnn.initializers._random import Uniform as Uniform
    from jaxnn.initializers._random import normal as normal
    from jaxnn.initializers._random import truncated_normal as truncated_normal
    from jaxnn.initializers._random import uniform as uniform
    from jaxnn.initializers._sparse import Sparse as Sparse
    from jaxnn.initializers._sparse import sparse as sparse
    from jaxnn.initializers._variance_scaling import VarianceScaling as VarianceScaling
    from jaxnn.initializers._variance_scaling import glorot_normal as glorot_normal
    from jaxnn.initializers._variance_scaling import glorot_uniform as glorot_uniform
    from jaxnn.initializers._variance_scaling import he_normal as he_normal
    from jaxnn.initializers._variance_scaling import he_uniform as he_uniform
    from jaxnn.initializers._variance_scaling import lecun_normal as lecun_normal
    from jaxnn.initializers._variance_scaling import lecun_uniform as lecun_uniform
    from jaxnn.initializers._variance_scaling import variance_scaling as variance_scaling
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Constant",
    "DeltaOrthogonal",
    "Identity",
    "Initializer",
    "Normal",
    "Orthogonal",
    "Sparse",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "constant",
    "delta_orthogonal",
    "fans",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "recommend_init",
    "sparse",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "zeros",
]
