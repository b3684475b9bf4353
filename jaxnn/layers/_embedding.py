"""Embedding: a learned vector for each of a number of ids."""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import jax.numpy as jnp

from jaxnn.initializers import Initializer, normal
from jaxnn.layers._layer import OpLayer
from jaxnn.ops import Op, embed


@final
@dataclass(frozen=True, repr=False)
class Embed(OpLayer):
    """Table of vectors, y = table[x], for integer x of any shape.

    Parameters: `table`, `(vocabulary, features)`, in JAX's default float dtype.

    Attributes:
        vocabulary: Number of ids; x is from 0 to vocabulary - 1.
        features: Length of each vector.
        table_init: Initialiser of the table. N(0, 0.02^2), as in BERT and GPT-2.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, ids = nn.Embed(1000, 64), jnp.array([[1, 5, 999]])
    >>> params, state = layer.init(jax.random.key(0), ids)
    >>> layer.apply(params, state, ids)[0].shape
    (1, 3, 64)
    """

    vocabulary: int
    features: int
    _: KW_ONLY
    table_init: Initializer = normal(0.02)  # noqa: RUF009 - a frozen value

    op: ClassVar[Op] = embed
    arrays: ClassVar[tuple[str, ...]] = ("x", "table")

    def init(self, key, x):
        del x
        return {"table": self.table_init(key, (self.vocabulary, self.features), jnp.result_type(float))}, {}
