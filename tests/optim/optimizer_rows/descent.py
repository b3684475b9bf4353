"""Gradient descent, with velocities."""

from functools import partial

import optax

from jaxnn import optim
from optimizer_rows._row import RATE, Row

ROWS = [
    Row("sgd", optim.sgd, optax.sgd, RATE),
    Row("sgd_momentum", optim.sgd, optax.sgd, {**RATE, "momentum": 0.9}),
    Row(
        "sgd_nesterov", partial(optim.sgd, nesterov=True), partial(optax.sgd, nesterov=True), {**RATE, "momentum": 0.9}
    ),
    Row(
        "momentum",
        optim.momentum,
        lambda learning_rate, decay: optax.sgd(learning_rate, momentum=decay),
        {**RATE, "decay": 0.9},
    ),
    Row(
        "nesterov",
        optim.nesterov,
        lambda learning_rate, decay: optax.sgd(learning_rate, decay, nesterov=True),
        {**RATE, "decay": 0.9},
    ),
    Row("ema", optim.ema, optax.ema, {"decay": 0.9}),
    Row("ema_as_it_is", partial(optim.ema, debias=False), partial(optax.ema, debias=False), {"decay": 0.9}),
    Row(
        "averaged_momentum",
        optim.averaged_momentum,
        lambda learning_rate, decay: optax.chain(
            optax.ema(decay, debias=False), optax.scale_by_learning_rate(learning_rate)
        ),
        {**RATE, "decay": 0.9},
    ),
    Row("trace", optim.trace, optax.trace, {"decay": 0.9}),
    Row("trace_nesterov", partial(optim.trace, nesterov=True), partial(optax.trace, nesterov=True), {"decay": 0.9}),
]
