"""Learning rates that follow gradients: line searches need a function, and are tested in `test_line_search.py`."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxnn import optim
from optimizer_rows._row import RATE, Row


def ours(hypergradient, base):
    """An optimizer of ours, whose rate cannot be a schedule and goes by another name for that."""
    return lambda rate, hyper_learning_rate, **rest: hypergradient(base(optim)(**rest), rate, hyper_learning_rate)


def by_the_paper(rule, base):
    """Hypergradient descent on top of optax's directions, which optax does not have."""

    def optimizer(rate, hyper_learning_rate, **rest):
        direction = base(optax)(**rest)

        def init(params):
            return optim.HypergradientDescentState(
                jnp.asarray(rate), optax.tree.zeros_like(params), direction.init(params)
            )

        def update(g, state, params=None):
            h = optax.tree.vdot(g, state.direction)
            lr = rule(state.learning_rate, hyper_learning_rate, h, g, state.direction)
            d, inner = direction.update(g, state.inner_state, params)
            new = optim.HypergradientDescentState(lr, d, inner)
            return jax.tree.map(lambda d: -lr * d, d), new

        return optax.GradientTransformation(init, update)

    return optimizer


def additive(lr, beta, h, g, d):
    return lr + beta * h


def multiplicative(lr, beta, h, g, d):
    lengths = optax.tree.norm(g) * optax.tree.norm(d)
    return jnp.where(lengths > 0, lr * (1 + beta * h / lengths), lr)


def by_magnitude(max_factor=None):
    return optax.stateless_with_tree_map(lambda g, p: jnp.clip(jnp.abs(g), None, max_factor) * g)


def proportional(learning_rate, max_factor=None):
    return optax.chain(by_magnitude(max_factor), optax.scale_by_learning_rate(learning_rate))


BASES = {
    "sgd": (lambda library: library.identity, {}),
    "heavy_ball": (lambda library: library.trace, {"decay": 0.9}),
    "nesterov": (lambda library: partial(library.trace, nesterov=True), {"decay": 0.9}),
    "adam": (lambda library: library.scale_by_adam, {"b1": 0.9, "b2": 0.999, "eps": 1e-8}),
}

ROWS = [
    Row(
        f"{hypergradient.__name__}_{name}",
        ours(hypergradient, base),
        by_the_paper(rule, base),
        {"rate": 0.1, "hyper_learning_rate": beta, **rest},
    )
    for hypergradient, rule, beta in (
        (optim.hypergradient_descent, additive, 1e-4),
        (optim.multiplicative_hypergradient_descent, multiplicative, 0.02),
    )
    for name, (base, rest) in BASES.items()
] + [
    Row("proportional_rate", optim.proportional_rate, proportional, RATE),
    Row("proportional_rate_limited", optim.proportional_rate, proportional, {**RATE, "max_factor": 0.7}),
    Row("scale_by_magnitude", optim.scale_by_magnitude, by_magnitude, {"max_factor": 0.7}),
]
