"""The links that optimizers are chained of."""

from functools import partial

import optax

from jaxnn import optim
from optimizer_rows._row import RATE, Row

ROWS = [
    Row("add_decayed_weights", optim.add_decayed_weights, optax.add_decayed_weights, {"weight_decay": 0.02}),
    Row(
        "add_decayed_weights_schedule",
        lambda rate: optim.add_decayed_weights(lambda count: rate / (count.astype(float) + 1)),
        lambda rate: optax.add_decayed_weights(lambda count: rate / (count.astype(float) + 1)),
        {"rate": 0.1},
    ),
    Row("scale_by_learning_rate", optim.scale_by_learning_rate, optax.scale_by_learning_rate, RATE),
    Row(
        "scale_by_learning_rate_unflipped",
        partial(optim.scale_by_learning_rate, flip_sign=False),
        partial(optax.scale_by_learning_rate, flip_sign=False),
        RATE,
    ),
    Row(
        "scale_by_schedule",
        lambda rate: optim.scale_by_schedule(lambda count: rate / (count.astype(float) + 1)),
        lambda rate: optax.scale_by_schedule(lambda count: rate / (count.astype(float) + 1)),
        {"rate": 0.1},
    ),
]
