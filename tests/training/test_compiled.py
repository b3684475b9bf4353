"""Compilation that is there for a user's call and out of the way inside a transformation."""

import importlib.util

import jax
import jax.numpy as jnp
import pytest
from runs import assert_close, compilations, regression, smooth

import jaxnn as nn
from jaxnn.training._compiled import compiled


@pytest.fixture
def counted():
    """A compiled function of a static scale, and a list: for which scales its Python ran, None for tracers."""
    ran = []

    @compiled
    def scaled(scale, x):
        """Scale x."""
        scale = scale[0] if isinstance(scale, tuple) else scale
        ran.append(None if isinstance(scale, jax.core.Tracer) else float(scale))
        return scale * x

    return scaled, ran


def test_runs_the_python_once_for_equal_statics_and_shapes(counted):
    scaled, ran = counted
    outs = [scaled(scale, jnp.full(3, x)) for scale, x in [(2.0, 1.0), (2.0, 5.0), (3.0, 1.0)]]
    assert [float(out[0]) for out in outs] == [2.0, 10.0, 3.0]
    assert ran == [2.0, 3.0]
    scaled(2.0, jnp.ones(4))
    assert ran == [2.0, 3.0, 2.0]
    assert (scaled.__name__, scaled.__doc__) == ("scaled", "Scale x.")


@pytest.mark.parametrize(
    "transform",
    [
        jax.jit,
        lambda f: lambda scale: jax.vmap(f)(jnp.stack([scale, scale]))[0],
        lambda f: jax.grad(lambda scale: f(scale) * scale / 2),
        lambda f: lambda scale: jax.jvp(f, (scale,), (scale,))[1],
        jax.checkpoint,
    ],
    ids=["jit", "vmap", "grad", "jvp", "checkpoint"],
)
def test_is_not_there_within_a_transformation_of_the_static_argument(counted, transform):
    scaled, ran = counted
    with jax.checking_leaks():
        assert transform(lambda scale: scaled(scale, jnp.array(5.0)))(jnp.array(2.0)) == 10
    assert set(ran) == {None}


def test_runs_as_it_is_if_the_static_argument_cannot_be_hashed(counted):
    scaled, ran = counted
    assert [float(scaled((jnp.array(2.0),), jnp.array(x))) for x in (1.0, 2.0)] == [2.0, 4.0]
    assert ran == [2.0, 2.0]


def test_is_found_again_after_a_transformation(counted):
    scaled, ran = counted
    scaled(2.0, jnp.ones(3))
    jax.vmap(lambda scale: scaled(scale, jnp.ones(3)))(jnp.ones(2))
    scaled(2.0, jnp.ones(3))
    assert ran == [2.0, None]


def test_knows_the_outside_even_if_imported_inside():
    spec = importlib.util.find_spec("jaxnn.training._compiled")
    module = importlib.util.module_from_spec(spec)
    jax.make_jaxpr(lambda: spec.loader.exec_module(module))()
    ran = []
    scaled = module.compiled(lambda scale, x: ran.append(scale) or scale * x)
    for _ in range(2):
        scaled(2.0, jnp.array(3.0))
    assert ran == [2.0]


def inner_programs(jaxpr):
    return {eqn.params.get("name") for eqn in jaxpr.eqns if eqn.primitive.name in ("jit", "pjit")}


@pytest.mark.parametrize("stopping", [None, nn.EarlyStopping(1)], ids=["all epochs", "stopping"])
def test_a_run_within_jit_is_no_program_within_a_program(key, stopping):
    data = regression(8)
    begin = smooth().init(key, data.x)
    run = lambda ts: nn.fit(smooth(), ts, data, epochs=2, batch_size=4, stopping=stopping)
    judge = lambda ts: nn.evaluate(smooth(), ts, data, batch_size=4)
    assert not {"_fit", "_evaluate"} & (
        inner_programs(jax.make_jaxpr(run)(begin).jaxpr) | inner_programs(jax.make_jaxpr(judge)(begin).jaxpr)
    )


@pytest.mark.parametrize(
    "stopping",
    [
        pytest.param(None, id="all epochs"),
        pytest.param(nn.EarlyStopping(1), id="stopping"),
    ],
)
def test_a_sweep_of_a_learning_rate_leaks_no_tracer(key, stopping):
    data = regression(8)
    begin = smooth().init(key, data.x)

    def last(learning_rate):
        trainer = smooth(learning_rate)
        ts, _ = nn.fit(trainer, begin, data, epochs=2, batch_size=4, stopping=stopping)
        return nn.evaluate(trainer, ts, data, batch_size=4)

    with jax.checking_leaks():
        losses = jax.jit(jax.vmap(last))(jnp.array([0.01, 0.1]))
    assert (losses[0] != losses[1]).all()


def test_a_trainer_that_cannot_be_hashed_runs_all_the_same(key):
    data = regression(8)

    def run(rate):
        model = nn.serial(nn.Dropout(rate), nn.Dense(1))
        trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
        ts, history = nn.fit(trainer, trainer.init(key, data.x), data, epochs=3, batch_size=4)
        return ts, history, nn.evaluate(trainer, ts, data)

    array = jnp.array(0.5)
    with pytest.raises(TypeError):
        hash(nn.Dropout(array))
    assert_close(run(array), run(0.5), 1e-6)


def test_one_program_serves_all_train_states_of_a_trainer(key):
    data = regression(8)
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    first, second = (trainer.init(jax.random.fold_in(key, i), data.x) for i in range(2))
    counts = []
    for ts in (first, second):
        with compilations() as seen:
            nn.evaluate(trainer, ts, data)
        counts.append(len(seen))
    assert counts[0] > 0
    assert counts[1] == 0
