"""RMSProp."""

from functools import partial

import optax

from jaxnn import optim
from optimizer_rows._row import RATE, Row

RMS = {"decay": 0.9, "eps": 1e-4, "initial_scale": 0.02}

ROWS = [
    Row("rmsprop", optim.rmsprop, optax.rmsprop, {**RATE, **RMS}),
    Row(
        "rmsprop_eps_outside",
        partial(optim.rmsprop, eps_in_sqrt=False),
        partial(optax.rmsprop, eps_in_sqrt=False),
        {**RATE, **RMS},
    ),
    Row(
        "rmsprop_corrected",
        partial(optim.rmsprop, bias_correction=True),
        partial(optax.rmsprop, bias_correction=True),
        {**RATE, **RMS},
    ),
    Row("rmsprop_momentum", optim.rmsprop, optax.rmsprop, {**RATE, **RMS, "momentum": 0.8}),
    Row(
        "rmsprop_nesterov",
        partial(optim.rmsprop, nesterov=True),
        partial(optax.rmsprop, nesterov=True),
        {**RATE, **RMS, "momentum": 0.8},
    ),
    Row(
        "rmsprop_centered",
        partial(optim.rmsprop, centered=True),
        partial(optax.rmsprop, centered=True),
        {**RATE, **RMS},
        rounding=10.0,  # in v - m^2
    ),
    Row(
        "rmsprop_centered_eps_outside",
        partial(optim.rmsprop, centered=True, eps_in_sqrt=False),
        partial(optax.rmsprop, centered=True, eps_in_sqrt=False),
        {**RATE, **RMS, "eps": 0.1},
        rounding=10.0,
    ),
    Row("scale_by_rms", optim.scale_by_rms, optax.scale_by_rms, RMS),
    Row("scale_by_stddev", optim.scale_by_stddev, optax.scale_by_stddev, RMS, rounding=10.0),
]
