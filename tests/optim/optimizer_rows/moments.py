"""Running means of gradients and of their squares, beyond Adam."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from jaxnn import optim
from optimizer_rows._row import ADAM, RATE, Row, only_w

DECAY = {"weight_decay": 0.02}
MEANS = {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "eps_root": 1e-3}
ADAN = {"b1": 0.9, "b2": 0.8, "b3": 0.95, "eps": 1e-3, "eps_root": 1e-4}
ADEMAMIX = {"b1": 0.9, "b2": 0.99, "b3": 0.995, "alpha": 5.0, "eps": 1e-3, "eps_root": 1e-4}
SIMPLIFIED = {"b1": 0.9, "b2": 0.95, "alpha": 2.0, "eps": 1e-3, "eps_root": 1e-4}
LION = {"b1": 0.7, "b2": 0.8}
RADAM = {"b1": 0.9, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-3, "threshold": 5.0}
ADOPT = {"b1": 0.9, "b2": 0.99, "eps": 0.7}
ACPROP = {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "eps_root": 2e-2}


def with_(ours, peer, **settings):
    """Both, with the same settings."""
    return partial(ours, **settings), partial(peer, **settings)


def in_precision(make):
    """MADGRAD of optax, which takes sqrt(t) of an integer, and so in float32 even in float64: of a float here."""

    def peer(**hyperparameters):
        optimizer = make(**hyperparameters)

        def update(updates, state, params):
            (dtype,) = {leaf.dtype for leaf in jax.tree.leaves(params)}
            counts = jax.tree.map(lambda leaf: jnp.issubdtype(leaf.dtype, jnp.integer), state)
            floats = jax.tree.map(lambda leaf, count: leaf.astype(dtype) if count else leaf, state, counts)
            updates, new = optimizer.update(updates, floats, params)
            return updates, jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, state)

        return optax.GradientTransformation(optimizer.init, update)

    return peer


ROWS = [
    Row("amsgrad", optim.amsgrad, optax.amsgrad, {**RATE, **ADAM}),
    Row(
        "amsgrad_of_the_paper",
        *with_(optim.amsgrad, optax.amsgrad, bias_correction_mu=False, bias_correction_nu=False),
        {**RATE, **MEANS},
    ),
    Row("scale_by_amsgrad", optim.scale_by_amsgrad, optax.scale_by_amsgrad, ADAM),
    Row("adamax", optim.adamax, optax.adamax, {**RATE, "b1": 0.9, "b2": 0.99, "eps": 1e-3}),
    Row("adamaxw", optim.adamaxw, optax.adamaxw, {**RATE, "b1": 0.9, "b2": 0.99, "eps": 1e-3, **DECAY}),
    Row(
        "adamaxw_masked",
        *with_(optim.adamaxw, optax.adamaxw, mask=only_w),
        {**RATE, "b1": 0.9, "b2": 0.99, "eps": 1e-3, **DECAY},
    ),
    Row("scale_by_adamax", optim.scale_by_adamax, optax.scale_by_adamax, {"b1": 0.9, "b2": 0.6, "eps": 1e-3}),
    Row("adabelief", optim.adabelief, optax.adabelief, {**RATE, **MEANS}),
    Row("adabelief_nesterov", *with_(optim.adabelief, optax.adabelief, nesterov=True), {**RATE, **MEANS}),
    Row("scale_by_belief", optim.scale_by_belief, optax.scale_by_belief, MEANS),
    Row("yogi", optim.yogi, optax.yogi, {**RATE, "b1": 0.9, "b2": 0.99, "eps": 1e-3}),
    Row(
        "scale_by_yogi",
        optim.scale_by_yogi,
        optax.scale_by_yogi,
        {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "eps_root": 1e-3, "initial_accumulator_value": 0.02},
    ),
    Row("radam", optim.radam, optax.radam, {**RATE, **RADAM}),
    Row("radam_nesterov", *with_(optim.radam, optax.radam, nesterov=True), {**RATE, **RADAM}),
    Row("scale_by_radam", optim.scale_by_radam, optax.scale_by_radam, RADAM),
    Row("lion", optim.lion, optax.lion, {**RATE, **LION, **DECAY}),
    Row("lion_masked", *with_(optim.lion, optax.lion, mask=only_w), {**RATE, **LION, **DECAY}),
    Row("scale_by_lion", optim.scale_by_lion, optax.scale_by_lion, LION),
    Row(
        "lion_smooth",
        *with_(optim.scale_by_lion, optax.scale_by_lion, mode="smooth"),
        {**LION, "smooth_beta": 0.7},
    ),
    Row("lion_refined", *with_(optim.scale_by_lion, optax.scale_by_lion, mode="refined"), LION),
    Row("adan", optim.adan, optax.adan, {**RATE, **ADAN, **DECAY}),
    Row("adan_masked", *with_(optim.adan, optax.adan, mask=only_w), {**RATE, **ADAN, **DECAY}),
    Row("scale_by_adan", optim.scale_by_adan, optax.scale_by_adan, ADAN),
    Row("novograd", optim.novograd, optax.novograd, {**RATE, **ADAM, "b2": 0.25, **DECAY}),
    Row("scale_by_novograd", optim.scale_by_novograd, optax.scale_by_novograd, {**ADAM, "b2": 0.25, **DECAY}),
    Row("ademamix", optim.ademamix, contrib.ademamix, {**RATE, **ADEMAMIX, **DECAY}),
    Row("ademamix_masked", *with_(optim.ademamix, contrib.ademamix, mask=only_w), {**RATE, **ADEMAMIX, **DECAY}),
    Row("scale_by_ademamix", optim.scale_by_ademamix, contrib.scale_by_ademamix, ADEMAMIX),
    Row(
        "simplified_ademamix",
        optim.simplified_ademamix,
        contrib.simplified_ademamix,
        {**RATE, **SIMPLIFIED, **DECAY},
    ),
    Row(
        "simplified_ademamix_masked",
        *with_(optim.simplified_ademamix, contrib.simplified_ademamix, mask=only_w),
        {**RATE, **SIMPLIFIED, **DECAY},
    ),
    Row(
        "scale_by_simplified_ademamix",
        optim.scale_by_simplified_ademamix,
        contrib.scale_by_simplified_ademamix,
        SIMPLIFIED,
    ),
    Row("adopt", optim.adopt, contrib.adopt, {**RATE, **ADOPT}),
    Row("adopt_nesterov", *with_(optim.adopt, contrib.adopt, nesterov=True), {**RATE, **ADOPT}),
    Row("adopt_unclipped", *with_(optim.adopt, contrib.adopt, use_clipping=False), {**RATE, **ADOPT}),
    Row("scale_by_adopt", optim.scale_by_adopt, contrib.scale_by_adopt, ADOPT),
    Row("acprop", optim.acprop, contrib.acprop, {**RATE, **ACPROP, **DECAY}),
    Row("acprop_masked", *with_(optim.acprop, contrib.acprop, mask=only_w), {**RATE, **ACPROP, **DECAY}),
    Row("scale_by_acprop", optim.scale_by_acprop, contrib.scale_by_acprop, ACPROP),
    Row("madgrad", optim.madgrad, in_precision(contrib.madgrad), {**RATE, "momentum": 0.9, **DECAY, "eps": 1e-3}),
    Row(
        "scale_by_madgrad",
        optim.scale_by_madgrad,
        in_precision(contrib.scale_by_madgrad),
        {**RATE, "momentum": 0.9, "eps": 1e-3},
    ),
]
