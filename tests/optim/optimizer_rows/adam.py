"""Adam and what differs from it by weight decay."""

from functools import partial

import optax

from jaxnn import optim
from optimizer_rows._row import ADAM, RATE, Row, only_w

ROWS = [
    Row("adam", optim.adam, optax.adam, {**RATE, **ADAM}),
    Row("nadam", optim.nadam, optax.nadam, {**RATE, **ADAM, "eps_root": 1e-4}),
    Row("adamw", optim.adamw, optax.adamw, {**RATE, **ADAM, "weight_decay": 0.02}),
    Row("nadamw", optim.nadamw, optax.nadamw, {**RATE, **ADAM, "weight_decay": 0.02}),
    Row(
        "adamw_masked",
        partial(optim.adamw, mask=only_w),
        partial(optax.adamw, mask=only_w),
        {**RATE, **ADAM, "weight_decay": 0.02},
    ),
    Row("scale_by_adam", optim.scale_by_adam, optax.scale_by_adam, ADAM),
]
