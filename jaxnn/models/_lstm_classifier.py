"""A classifier of sequences: read them step by step, and answer at the end.

Dimensions: `batch` examples, `time` steps, `classes`.
"""

from jaxnn.layers import LSTM, Dense, Embed, Layer, each_step, serial
from jaxnn.ops import last


def lstm_classifier(vocabulary: int, classes: int, *, width: int = 32, units: int = 64) -> Layer:
    """A vector for each token, an LSTM that reads them, and logits from where it is after the last.

    Sequences of several lengths are `nn.Sequences`, and each is answered after its own last step; of an array, all have
    as many. Several LSTMs one after another, or `nn.Bidirectional` ones, read more than the last alone can carry.

    Shapes: integers `(batch, time)`, or `Sequences` of them, to logits `(batch, classes)`.

    Args:
        vocabulary: Of the tokens, which are from 0 to below it.
        classes: Of the logits.
        width: Numbers for a token.
        units: Numbers that the LSTM carries from step to step, twice.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.models.lstm_classifier(26, 2, width=4, units=8)
    >>> words = nn.Sequences(jnp.array([[7, 8, 0], [2, 24, 4]]), lengths=jnp.array([2, 3]))
    >>> params, state = model.init(jax.random.key(0), words)
    >>> model.apply(params, state, words)[0].shape, nn.tree.count(params)
    ((2, 2), 538)

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997).
    """
    return serial(each_step(Embed(vocabulary, width)), LSTM(units), last, Dense(classes))
