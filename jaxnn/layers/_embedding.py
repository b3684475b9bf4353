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

    A table may be used twice, at both ends of a model: words in, and scores of words out. Such a layer is its own, for
    its parameters are one tree, in which the table stands once. Its gradient is the sum of what each use adds:

    >>> @dataclass(frozen=True)
    ... class Tied(nn.Layer):
    ...     embed: nn.Embed
    ...     body: nn.Layer
    ...
    ...     def init(self, key, ids):
    ...         keys = jax.random.split(key)
    ...         table, _ = self.embed.init(keys[0], ids)
    ...         x = jax.eval_shape(lambda ids: self.embed.apply(table, {}, ids)[0], ids)
    ...         body, state = self.body.init(keys[1], x)
    ...         return {"embed": table, "body": body}, state
    ...
    ...     def fwd(self, params, state, ids, *, key=None, train=False):
    ...         (x, _), of_embed = self.embed.fwd(params["embed"], {}, ids)
    ...         (x, state), of_body = self.body.fwd(params["body"], state, x, key=key, train=train)
    ...         scores, of_scores = nn.ops.linear.fwd(x, params["embed"]["table"].T, None)
    ...         return (scores, state), (of_embed, of_body, of_scores)
    ...
    ...     def bwd(self, residuals, dy):
    ...         of_embed, of_body, of_scores = residuals
    ...         dx, d_w, _ = nn.ops.linear.bwd(of_scores, dy)
    ...         d_body, dx = self.body.bwd(of_body, dx)
    ...         d_embed, _ = self.embed.bwd(of_embed, dx)
    ...         return {"embed": {"table": d_embed["table"] + d_w.T}, "body": d_body}, None
    >>> model = Tied(nn.Embed(50, 8), nn.serial(nn.Dense(8), nn.tanh))
    >>> ids, following = jnp.array([[3, 1, 4, 1, 5]]), jnp.array([[1, 4, 1, 5, 9]])
    >>> trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(1e-2))
    >>> ts = trainer.init(jax.random.key(0), ids)
    >>> nn.tree.count(ts.params), 50 * 8 + 8 * 8 + 8
    (472, 472)
    >>> nn.compare(model, nn.losses.cross_entropy, ts, nn.Data(ids, following), rounds=1).agrees
    True

    Source: for the table that is used twice, Press and Wolf, "Using the output embedding" (2017).
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
