"""Learning rates that are found on the way."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxnn import optim
from optimizer_rows._row import Row, no_extra, only_w

HALF = {"learning_rate": 0.5}
DOWG = {**HALF, "init_estim_sq_dist": 20.0, "eps": 0.1, "weight_decay": 0.02}
# As "rate", so that the contract does not compare them under a schedule to 1e-6: optax subtracts nearly equal numbers.
FREE = {"rate": 0.05, "b1": 0.8, "weight_lr_power": 1.5}
MOMO = {"learning_rate": 3.0, "beta": 0.9, "lower_bound": 0.5, "weight_decay": 0.02}
MOMO_ADAM = {"learning_rate": 3.0, "b1": 0.9, "b2": 0.99, "eps": 0.1, "lower_bound": 0.5, "weight_decay": 0.02}
COCOB = {**HALF, "alpha": 10.0, "eps": 0.1, "weight_decay": 0.02}
ADAPT = {**HALF, "b1": 0.9, "b2": 0.99, "eps": 1e-3, "estim_lr0": 0.05, "weight_decay": 0.02}


def with_distance(dog):
    """DoG with the number of its first distance as an argument."""
    return lambda r, **rest: dog(init_step=("distance", r), **rest)


def with_betas(optimizer, **flags):
    """An optimizer whose decays are a pair, with each of them as an argument."""
    return lambda b1, b2, **rest: optimizer(betas=(b1, b2), **flags, **rest)


def both(name, row_name, hyperparameters, rounding=1.0, extra=no_extra, **flags):
    """A row of a function of `optax.contrib`, with the same options on both sides."""
    ours, theirs = (partial(getattr(library, name), **flags) for library in (optim, optax.contrib))
    return Row(row_name, ours, theirs, hyperparameters, extra, rounding)


def shaped_like_gradients(optimizer):
    """What optax returns for a scalar leaf has shape (1,)."""

    def build(**hyperparameters):
        inner = optimizer(**hyperparameters)

        def update(grads, state, params):
            updates, state = inner.update(grads, state, params)
            return jax.tree.map(lambda u, g: u.reshape(g.shape), updates, grads), state

        return optax.GradientTransformation(inner.init, update)

    return build


def around(wrapper, optimizer, **flags):
    """What wraps an optimizer that has the same learning rate."""
    return lambda rate, **rest: wrapper(optimizer(rate), rate, **flags, **rest)


def schedule_free(name, hyperparameters, suffix=""):
    """A row of an optimizer that is schedule-free."""

    def of(library):
        def make(rate, **rest):
            return getattr(library, name)(rate, **rest)

        return make

    return Row(name + suffix, of(optim), of(optax.contrib), hyperparameters, rounding=15)


def value(grads, params):
    """The value of a loss that is as large as gradients are."""
    del params
    return {"value": 2.0 + sum(jnp.square(g).sum() for g in jax.tree.leaves(grads))}


ROWS = [
    both("dowg", "dowg", DOWG),
    both("dowg", "dowg_masked", DOWG, mask=only_w),
    both("dowg", "dowg_from_eps", {**HALF, "eps": 0.5}),
    Row("prodigy", with_betas(optim.prodigy), with_betas(optax.contrib.prodigy), ADAPT),
    Row("prodigy_beta3", with_betas(optim.prodigy), with_betas(optax.contrib.prodigy), {**ADAPT, "beta3": 0.8}),
    Row(
        "prodigy_safeguard",
        with_betas(optim.prodigy, safeguard_warmup=True),
        with_betas(optax.contrib.prodigy, safeguard_warmup=True),
        ADAPT,
    ),
    # A large eps, for on parameters that do not follow the rate would otherwise grow by 60000, and rounding with it.
    Row("dadapt_adamw", with_betas(optim.dadapt_adamw), with_betas(optax.contrib.dadapt_adamw), {**ADAPT, "eps": 10.0}),
    Row(
        "schedule_free_of_sgd",
        around(optim.schedule_free, optim.sgd),
        around(optax.contrib.schedule_free, optax.sgd),
        FREE,
        rounding=15,
    ),
    Row(
        "schedule_free_of_adam",
        around(optim.schedule_free, partial(optim.adam, b1=0.0, eps=1e-3)),
        around(optax.contrib.schedule_free, partial(optax.adam, b1=0.0, eps=1e-3)),
        FREE,
        rounding=15,
    ),
    schedule_free("schedule_free_sgd", FREE),
    schedule_free("schedule_free_sgd", {**FREE, "weight_decay": 0.02}, "_decay"),
    schedule_free("schedule_free_adamw", {**FREE, "b2": 0.99, "eps": 1e-3, "weight_decay": 0.02}),
    both("momo", "momo", MOMO, extra=value),
    both("momo", "momo_adapting", MOMO, extra=value, adapt_lower_bound=True),
    both("momo_adam", "momo_adam", MOMO_ADAM, 10, extra=value),
    both("momo_adam", "momo_adam_adapting", MOMO_ADAM, 10, extra=value, adapt_lower_bound=True),
    both("cocob", "cocob", COCOB),
    both("cocob", "cocob_masked", COCOB, mask=only_w),
    both("scale_by_cocob", "scale_by_cocob", {"alpha": 10.0, "eps": 0.1}),
]

# Rows whose state has shapes or dtypes of its own, for `test_parameter_free_contract.py`.
PECULIAR = [
    Row(
        "dog",
        with_distance(optim.dog),
        with_distance(optax.contrib.dog),
        {**HALF, "r": 20.0, "eps": 0.1, "weight_decay": 0.02},
    ),
    both("dog", "dog_first_rate", {**HALF, "eps": 0.1}, init_step=("learning_rate", 0.1)),
    both("dog", "dog_heuristic", {**HALF, "eps": 0.1}, init_step=("heuristic", 0.1)),
    Row(
        "scale_by_distance_over_gradients",
        optim.scale_by_distance_over_gradients,
        shaped_like_gradients(optax.scale_by_distance_over_gradients),
        {"reps_rel": 3.0, "eps": 0.1, "global_scale": -1.0},
    ),
    Row(
        "mechanize",
        lambda rate, **rest: optim.mechanize(optim.sgd(rate, 0.9), **rest),
        lambda rate, **rest: optax.contrib.mechanize(optax.sgd(rate, 0.9), **rest),
        {"rate": 0.5, "weight_decay": 0.02, "eps": 0.1, "s_init": 0.2},
    ),
    Row(
        "mechanize_three_betas",
        lambda rate, **rest: optim.mechanize(optim.rmsprop(rate), num_betas=3, **rest),
        lambda rate, **rest: optax.contrib.mechanize(optax.rmsprop(rate), num_betas=3, **rest),
        {"rate": 0.5, "weight_decay": 0.02, "eps": 0.1, "s_init": 0.2},
        rounding=20,
    ),
]
