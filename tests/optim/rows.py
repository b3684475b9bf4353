"""One row per optimizer: under every row, every property of the contract tests is checked."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import optax

from jaxnn import optim


class Row(NamedTuple):
    """An optimizer of jaxnn beside optax's, and all hyperparameters that one could sweep."""

    name: str
    ours: Callable[..., Any]
    peer: Callable[..., Any]
    hyperparameters: Mapping[str, float]


def only_w(params):
    """A mask over the parameters, as weight decay takes one."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "w", params)


ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}
RATE = {"learning_rate": 0.1}
RMS = {"decay": 0.9, "eps": 1e-4, "initial_scale": 0.02}

OPTIMIZERS = [
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
    Row("adam", optim.adam, optax.adam, {**RATE, **ADAM}),
    Row("nadam", partial(optim.adam, nesterov=True), optax.nadam, {**RATE, **ADAM, "eps_root": 1e-4}),
    Row("adamw", optim.adamw, optax.adamw, {**RATE, **ADAM, "weight_decay": 0.02}),
    Row("nadamw", partial(optim.adamw, nesterov=True), optax.nadamw, {**RATE, **ADAM, "weight_decay": 0.02}),
    Row(
        "adamw_masked",
        partial(optim.adamw, mask=only_w),
        partial(optax.adamw, mask=only_w),
        {**RATE, **ADAM, "weight_decay": 0.02},
    ),
    Row("adagrad", optim.adagrad, optax.adagrad, {**RATE, "initial_accumulator_value": 0.1, "eps": 1e-7}),
    Row("adagrad_from_0", optim.adagrad, optax.adagrad, {**RATE, "initial_accumulator_value": 0.0, "eps": 1e-3}),
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
    ),
    Row(
        "rmsprop_centered_eps_outside",
        partial(optim.rmsprop, centered=True, eps_in_sqrt=False),
        partial(optax.rmsprop, centered=True, eps_in_sqrt=False),
        {**RATE, **RMS, "eps": 0.1},
    ),
    Row("scale_by_rss", optim.scale_by_rss, optax.scale_by_rss, {"initial_accumulator_value": 0.1, "eps": 1e-7}),
    Row("scale_by_rms", optim.scale_by_rms, optax.scale_by_rms, RMS),
    Row("scale_by_stddev", optim.scale_by_stddev, optax.scale_by_stddev, RMS),
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
    Row("scale_by_adam", optim.scale_by_adam, optax.scale_by_adam, ADAM),
    Row("add_decayed_weights", optim.add_decayed_weights, optax.add_decayed_weights, {"weight_decay": 0.02}),
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
