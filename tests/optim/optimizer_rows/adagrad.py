"""AdaGrad."""

import optax

from jaxnn import optim
from optimizer_rows._row import RATE, Row

ROWS = [
    Row("adagrad", optim.adagrad, optax.adagrad, {**RATE, "initial_accumulator_value": 0.1, "eps": 1e-7}),
    Row("adagrad_from_0", optim.adagrad, optax.adagrad, {**RATE, "initial_accumulator_value": 0.0, "eps": 1e-3}),
    Row("scale_by_rss", optim.scale_by_rss, optax.scale_by_rss, {"initial_accumulator_value": 0.1, "eps": 1e-7}),
]
