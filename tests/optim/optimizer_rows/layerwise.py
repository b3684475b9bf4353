"""Steps scaled by the norm of a layer, factored second moments, and directions made orthogonal."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxnn import optim
from optimizer_rows._row import ADAM, RATE, Row, only_w

TRUST = {"trust_coefficient": 0.3, "eps": 1e-3}
ADAFACTOR = {"decay_rate": 0.8, "clipping_threshold": 0.9, "eps": 1e-3}


def both(name, hyperparameters, **options):
    """A row of the function of one name in both libraries, with options."""
    return partial(getattr(optim, name), **options), partial(getattr(optax, name), **options), hyperparameters


def whole(transform):
    """Return optax's SM3 with a vector for a scalar and a 0 for an empty leaf, of which it takes neither."""

    def up(x):
        return x.reshape(x.shape or (1,)) if x.size else jnp.zeros([max(n, 1) for n in x.shape], x.dtype)

    def down(x, like):
        return x.reshape(like.shape) if like.size else like

    def init(params):
        state = transform.init(jax.tree.map(up, params))
        ours = optim.scale_by_sm3().init(params)
        return jax.tree.map(down, state, jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(ours)))

    def update(updates, state, params=None):
        new_updates, new = transform.update(*jax.tree.map(up, (updates, state, params)))
        return jax.tree.map(down, new_updates, updates), jax.tree.map(down, new, state)

    return optax.GradientTransformation(init, update)


def exactly(learning_rate, **rest):
    """optax's Fromage with a rate in float64: of a small part, 1 - 1 / sqrt(1 + rate^2), float32 keeps few digits."""
    return optax.fromage(float(learning_rate), **rest)


ROWS = [
    Row("scale_by_trust_ratio", optim.scale_by_trust_ratio, optax.scale_by_trust_ratio, TRUST),
    Row("scale_by_trust_ratio_at_least", *both("scale_by_trust_ratio", {"min_norm": 1.0})),
    Row("lars", *both("lars", {**RATE, **TRUST, "weight_decay": 0.02, "momentum": 0.8})),
    Row("lars_nesterov", *both("lars", {**RATE, **TRUST, "momentum": 0.8}, nesterov=True)),
    Row(
        "lars_masked",
        *both(
            "lars",
            {**RATE, **TRUST, "weight_decay": 0.02, "momentum": 0.8},
            weight_decay_mask=only_w,
            trust_ratio_mask=only_w,
        ),
    ),
    Row("lamb", *both("lamb", {**RATE, **ADAM, "eps_root": 1e-4, "weight_decay": 0.02})),
    Row("lamb_masked", *both("lamb", {**RATE, **ADAM, "weight_decay": 0.02}, mask=only_w)),
    Row(
        "fromage",
        lambda rate, **rest: optim.fromage(learning_rate=rate, **rest),
        lambda rate: exactly(learning_rate=rate),
        {"rate": 0.1},
    ),
    Row(
        "fromage_at_least",
        lambda rate, **rest: optim.fromage(learning_rate=rate, **rest),
        lambda rate, min_norm: exactly(learning_rate=rate, min_norm=min_norm),
        {"rate": 0.1, "min_norm": 1.0},
    ),
    Row("scale_by_param_block_norm", *both("scale_by_param_block_norm", {"min_scale": 1.0})),
    Row("scale_by_param_block_rms", *both("scale_by_param_block_rms", {"min_scale": 1.0})),
]
OTHER_STATE = [
    Row(
        "sm3",
        optim.sm3,
        lambda learning_rate, momentum: optax.chain(
            whole(optax.scale_by_sm3(momentum)), optax.scale_by_learning_rate(learning_rate)
        ),
        {"learning_rate": 0.1, "momentum": 0.8},
    ),
    Row("scale_by_sm3", optim.scale_by_sm3, lambda **h: whole(optax.scale_by_sm3(**h)), {"b1": 0.8, "eps": 1e-3}),
    Row(
        "scale_by_sm3_averaged",
        optim.scale_by_sm3,
        lambda b2, **h: whole(optax.scale_by_sm3(b2=float(b2), **h)),
        {"b1": 0.8, "b2": 0.9, "eps": 1e-3},
    ),
    Row("scale_by_factored_rms", *both("scale_by_factored_rms", {"decay_rate": 0.8, "epsilon": 1e-3})),
    Row(
        "scale_by_factored_rms_of_matrices",
        *both("scale_by_factored_rms", {"decay_rate": 0.8, "epsilon": 1e-3}, min_dim_size_to_factor=2),
    ),
    Row("adafactor", *both("adafactor", {**RATE, **ADAFACTOR})),
    Row("adafactor_of_matrices", *both("adafactor", {**RATE, **ADAFACTOR}, min_dim_size_to_factor=2)),
    Row(
        "adafactor_momentum",
        *both("adafactor", {**RATE, **ADAFACTOR, "momentum": 0.8}, dtype_momentum=None),
    ),
    Row(
        "adafactor_decayed",
        *both("adafactor", {**RATE, **ADAFACTOR, "weight_decay_rate": 0.02}, weight_decay_mask=only_w),
    ),
    Row(
        "adafactor_plain",
        *both(
            "adafactor",
            {"decay_rate": 0.8, "eps": 1e-3},
            clipping_threshold=None,
            multiply_by_parameter_scale=False,
            factored=False,
        ),
    ),
]
"""What keeps other arrays than those like the parameters: `test_layerwise` runs the contract over them."""


def contributed(name, hyperparameters, **options):
    """Likewise of a function that stands in `optax.contrib`."""
    return partial(getattr(optim, name), **options), partial(getattr(optax.contrib, name), **options), hyperparameters


MUON = {"beta": 0.8, "eps": 0.05, "weight_decay": 0.02}
OF_ADAM = {
    "adam_b1": 0.8,
    "adam_b2": 0.9,
    "adam_eps_root": 1e-3,
    "adam_weight_decay": 0.02,
    "adam_learning_rate": 0.2,
    "consistent_rms": 0.2,
}
MATRICES = [
    Row("muon", *contributed("muon", {**RATE, **MUON, **OF_ADAM}, ns_steps=3)),
    Row("muon_dion", *contributed("muon", {**RATE, "beta": 0.8}, ns_coeffs="dion")),
    Row("muon_heavy", *contributed("muon", {**RATE, **MUON}, ns_steps=2, nesterov=False, weight_decay_mask=only_w)),
    Row("muon_adaptive", *contributed("muon", {**RATE, **MUON}, ns_steps=2, adaptive=True)),
    Row("muon_spectral", *contributed("muon", {**RATE, **MUON}, ns_steps=2, preconditioning="spectral")),
    Row("muon_aol", *contributed("muon", {**RATE, "beta": 0.8}, ns_steps=2, preconditioning="aol")),
    Row("muon_schatten", *contributed("muon", {**RATE, "beta": 0.8}, ns_steps=2, preconditioning="schatten")),
    Row("galore", *contributed("galore", {**RATE, "scale": 0.5, "weight_decay": 0.02}, rank=2, update_proj_gap=150)),
    Row("galore_masked", *contributed("galore", {**RATE, "weight_decay": 0.02}, rank=1, mask=only_w)),
]
"""What is about matrices, in which optax takes no empty leaf: `test_layerwise` runs the contract over them."""
