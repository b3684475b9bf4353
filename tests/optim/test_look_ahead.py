"""The textbook's Nesterov momentum, by a trainer that takes the gradient ahead of its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import optim

pytestmark = pytest.mark.usefixtures("x64")

RATE, DECAY = 0.1, 0.9


def textbook(model, optimizer=None, **settings):
    optimizer = nn.momentum(RATE, DECAY) if optimizer is None else optimizer
    return nn.trainer(model, nn.losses.mse, optimizer, gradient_at=optim.look_ahead(RATE, DECAY), **settings)


def test_mom_3_three_steps_from_2():
    square = nn.Dense(1, bias=False)  # of x = 1 and y = 0: f(w) = w^2
    trainer, point = textbook(square), nn.Data(jnp.array([[1.0]]), jnp.array([[0.0]]))
    ts, seen = trainer.init(jax.random.key(0), point.x)._replace(params={"w": jnp.array([[2.0]])}), []
    step = jax.jit(trainer.step)
    for _ in range(3):
        ts, _ = step(ts, point)
        seen.append(float(ts.params["w"][0, 0]))
    np.testing.assert_allclose(seen, [1.6, 0.992, 0.35584], rtol=1e-12)


@pytest.mark.parametrize("velocity_of", [nn.momentum, optax.sgd], ids=["ours", "optax"])
@pytest.mark.parametrize("gradient", [nn.by_autodiff, nn.by_hand])
def test_it_is_the_reformulation_after_a_change_of_variables(gradient, velocity_of, loose):
    """The points at which the textbook looks are the parameters of `nesterov`."""
    model, random = nn.serial(nn.Dense(5), nn.tanh, nn.Dense(1)), np.random.default_rng(0)
    batches = [
        nn.Data(jnp.asarray(random.normal(size=(8, 3))), jnp.asarray(random.normal(size=(8, 1)))) for _ in "01234"
    ]
    ahead_of = textbook(model, velocity_of(RATE, DECAY), gradient=gradient)
    at = nn.trainer(model, nn.losses.mse, nn.nesterov(RATE, DECAY), gradient=gradient)
    begin = ahead_of.init(jax.random.key(0), batches[0].x)
    states = begin, begin._replace(opt_state=at.optimizer.init(begin.params))
    steps = [jax.jit(trainer.step) for trainer in (ahead_of, at)]
    for batch in batches:
        states = tuple(step(ts, batch)[0] for step, ts in zip(steps, states, strict=True))
        points = ahead_of.gradient_at(states[0].params, states[0].opt_state)
        jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-10, atol=1e-13), points, states[1].params)
    assert float(abs(points["dense_0"]["w"] - states[0].params["dense_0"]["w"]).max()) > 1e-3


def test_rate_and_decay_may_be_swept():
    data = nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1)))

    def last(rate, decay):
        trainer = nn.trainer(
            nn.Dense(1), nn.losses.mse, nn.momentum(rate, decay), gradient_at=optim.look_ahead(rate, decay)
        )
        ts = trainer.init(jax.random.key(0), data.x)
        for _ in range(2):
            ts, _ = trainer.step(ts, data)
        return ts.params["w"]

    mapped = jax.jit(jax.vmap(last))(jnp.array([0.1, 0.01]), jnp.array([0.9, 0.5]))
    np.testing.assert_allclose(mapped[1], jax.jit(last)(0.01, 0.5), rtol=1e-12)


def test_an_optimizer_without_a_velocity_is_refused():
    trainer, data = textbook(nn.Dense(1), nn.sgd(0.1)), nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1)))
    with pytest.raises(ValueError, match=r"expected the state of one velocity, because .* got 0 of them in"):
        trainer.step(trainer.init(jax.random.key(0), data.x), data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.9), "expected learning_rate of 0 or more, because it is the length of a step; got -0.1"),
        ((0.1, 1.0), "expected decay from 0 to below 1, because a velocity must fade; got 1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optim.look_ahead(*arguments)
