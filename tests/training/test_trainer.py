"""A trainer: how a run begins, and what one step of it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import assert_close, compilations, outline, regression, smooth

import jaxnn as nn

float64 = pytest.mark.usefixtures("x64")
MODEL = nn.serial(nn.Dense(2, bias=False), nn.BatchNorm(), nn.tanh, nn.Dense(1))


def pointers(tree):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree._replace(key=jax.random.key_data(tree.key)))]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "optimizer", [nn.adam(nn.cosine_decay_schedule(0.1, 9)), nn.momentum(0.1)], ids=["adam", "momentum"]
)
def test_no_two_arrays_of_a_beginning_share_memory(key, compiled, optimizer):
    init = nn.trainer(MODEL, nn.losses.mse, optimizer, freeze="batch_norm_0/.*").init
    if compiled:
        init = jax.jit(init)
    begin = init(key, jnp.zeros((4, 3)))
    assert len(set(pointers(begin))) == len(jax.tree.leaves(begin)) > 8


@float64
def test_a_beginning_depends_on_the_shape_and_dtype_of_inputs_alone(key):
    trainer = smooth()
    begin = trainer.init(key, outline())
    assert_close(trainer.init(key, regression(4).x), begin, 0)
    other = trainer.init(jax.random.fold_in(key, 1), outline())
    assert (other.params["dense_0"]["w"] != begin.params["dense_0"]["w"]).all()
    assert (begin.step, begin.epoch) == (0, 0)
    assert_close(begin.opt_state, trainer.optimizer.init(begin.params), 0)


def test_parameters_are_drawn_by_one_program_a_model(key):
    trainer = lambda: nn.trainer(nn.serial(nn.Dense(32), nn.tanh, nn.Dense(3)), nn.losses.mse, nn.sgd(0.1))
    expected = jax.jit(trainer().init)(key, outline())
    with compilations() as compiled:
        begin = trainer().init(key, outline())
    assert len(compiled) <= 2  # and the count of steps, if nothing has counted before
    assert_close(begin, expected, 1e-6)
    with compilations() as compiled:
        trainer().init(key, outline())
    assert compiled == []


@float64
@pytest.mark.usefixtures("loose")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.adam(0.05, b1=0.8), optax.adam(0.05, b1=0.8)),
        (nn.adamw(nn.cosine_decay_schedule(0.1, 9)), optax.adamw(optax.cosine_decay_schedule(0.1, 9))),
    ],
    ids=["adam", "adamw with a schedule"],
)
def test_an_optimizer_of_optax_may_stand_for_ours(key, ours, theirs):
    data = regression(10)
    runs = []
    for optimizer in (ours, theirs):
        trainer = nn.trainer(nn.serial(nn.Dense(1), nn.tanh), nn.losses.mse, optimizer)
        ts, history = nn.fit(trainer, trainer.init(key, data.x), data, epochs=3, batch_size=4, shuffle=False)
        runs.append((ts.params, history))
    assert_close(*runs, 1e-10)


@pytest.mark.usefixtures("loose")
def test_an_optimizer_that_looks_at_the_loss_sees_it(key):
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, optax.chain(optax.sgd(0.1), plateau))
    data = regression(4)
    ts, history = nn.fit(trainer, trainer.init(key, data.x), data, epochs=3, batch_size=4)
    np.testing.assert_allclose(ts.opt_state[1].best_value, history["loss"].min(), rtol=1e-6)


@float64
@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
def test_a_line_search_is_given_the_loss_as_a_function(key, road):
    """Full-batch L-BFGS is at the least squares' minimum in a few steps, as a loop of optax's own is."""
    data = regression(10, weighted=True)
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.optim.lbfgs(), gradient=road)
    begin = trainer.init(key, data.x)
    ts, _ = nn.fit(trainer, begin, data, epochs=8, batch_size=10, shuffle=False)

    def loss(params):
        return nn.losses.weighted_mean(nn.losses.mse(data.x @ params["w"] + params["b"][None], data.y), data.w)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params, value=value, grad=grads, value_fn=loss)
        return (optax.apply_updates(params, updates), state), None

    optimizer = optax.lbfgs()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        looped = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), length=8)[0][0])
        assert_close(ts.params, looped(begin.params), 1e-8)
    X = np.concatenate([data.x, np.ones((10, 1))], axis=1) * np.sqrt(data.w)[:, None]
    least = np.linalg.lstsq(X, np.asarray(data.y * np.sqrt(data.w)[:, None]))[0]
    np.testing.assert_allclose(np.concatenate([ts.params["w"], ts.params["b"][None]]), least, atol=5e-3)


def another_optimizer(trainer, data):
    return nn.trainer(trainer.model, trainer.loss, nn.momentum(0.1)).init(jax.random.key(0), data.x).opt_state


def other_parameters(trainer, data):
    return trainer.init(jax.random.key(0), data.x[:, :2]).opt_state


def step(trainer, ts, data):
    return trainer.step(ts, data)


def fit(trainer, ts, data):
    return nn.fit(trainer, ts, data, epochs=1, batch_size=4)


@pytest.mark.parametrize("enter", [step, fit])
@pytest.mark.parametrize(
    ("stranger", "parts"),
    [
        (another_optimizer, ["ScaleByAdamState", "TraceState", "hint: begin with trainer.init"]),
        (other_parameters, ["0/mu/dense_0/w of shape (3, 1)", "got (2, 1)"]),
    ],
    ids=["another optimizer's", "other parameters'"],
)
def test_a_strange_optimizer_state_is_refused(key, enter, stranger, parts):
    trainer, data = smooth(), regression(4)
    ts = trainer.init(key, data.x)._replace(opt_state=stranger(trainer, data))
    with pytest.raises(ValueError, match="expected the optimizer state") as error:
        enter(trainer, ts, data)
    for part in parts:
        assert part in str(error.value)


def test_a_train_state_of_other_frozen_parameters_is_refused(key):
    free, part = (nn.trainer(MODEL, nn.losses.mse, nn.sgd(0.1), freeze=freeze) for freeze in ((), "dense_0/.*"))
    data = regression(4)
    with pytest.raises(
        ValueError, match=r"expected a train state that holds dense_0/w fixed.*got one that holds nothing"
    ):
        step(part, free.init(key, data.x), data)
    with pytest.raises(
        ValueError, match=r"expected a train state that holds nothing fixed.*got one that holds dense_0/w"
    ):
        step(free, part.init(key, data.x), data)


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_optimizer_is_refused():
    with pytest.raises(TypeError, match=r"expected an optimizer, such as nn.adam\(1e-3\).*got 0.1"):
        nn.trainer(MODEL, nn.losses.mse, 0.1)


@pytest.mark.parametrize("freeze", ["dense_7/.*", ("dense_0/w", "dense_7/.*"), "dense_0"])
def test_a_pattern_that_freezes_nothing_is_refused(key, freeze):
    with pytest.raises(ValueError, match=r"matches none of: batch_norm_0/offset, .*, dense_0/w, dense_1/b, dense_1/w"):
        nn.trainer(MODEL, nn.losses.mse, nn.sgd(0.1), freeze=freeze).init(key, outline())


def test_a_step_moves_the_count_of_steps_and_leaves_its_arguments(key):
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    data = regression(4)
    begin = trainer.init(key, data.x)
    step = jax.jit(trainer.step)
    before = jax.tree.map(jnp.copy, begin)
    once, info = step(begin, data)
    twice, _ = step(once, data)
    assert (once.step, twice.step, twice.epoch) == (1, 2, 0)
    assert_close(begin, before, 0)
    assert_close(once.key, begin.key, 0)
    assert_close(info.prediction, trainer.predict(begin, data.x), 1e-6)
    np.testing.assert_allclose(info.loss, ((info.prediction - data.y) ** 2).mean(), rtol=1e-6)


def test_each_step_draws_its_own_randomness_and_the_same_again(key):
    model = nn.serial(nn.Dropout(0.5), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.0))
    data = regression(32)
    begin = trainer.init(key, data.x)
    step = jax.jit(trainer.step)
    once, info = step(begin, data)
    _, again = step(begin, data)
    _, later = step(once, data)
    _, other = step(begin._replace(key=jax.random.fold_in(key, 1)), data)
    assert_close(info, again, 0)
    assert info.loss != later.loss
    assert info.loss != other.loss


def test_predicts_with_all_parameters_as_in_inference(key):
    model = nn.serial(nn.Dense(2), nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), freeze="dense_0/.*")
    data = regression(8)
    ts, _ = jax.jit(trainer.step)(jax.jit(trainer.init)(key, data.x), data)
    whole = nn.tree.merge(ts.params, ts.frozen)
    expected, _ = jax.jit(model.apply)(whole, ts.state, data.x)
    predict = jax.jit(trainer.predict)
    assert_close(predict(ts, data.x), expected, 1e-6)
    assert_close(jnp.concatenate([predict(ts, row[None]) for row in data.x]), expected, 1e-6)


@pytest.mark.parametrize("model", [nn.relu, lambda x: 2 * x], ids=["an op", "a function"])
def test_a_model_may_be_an_op_or_a_function(key, model):
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
    x = jnp.array([[-1.0, 2.0]])
    assert_close(trainer.predict(trainer.init(key, x), x), model(x), 0)


def test_a_loss_of_ones_own_needs_only_to_judge_each_example(key):
    own = lambda prediction, target: (prediction - target) ** 2
    data = regression(4)
    steps = [
        jax.jit(trainer.step)(trainer.init(key, data.x), data)
        for loss in (own, nn.losses.mse)
        for trainer in [nn.trainer(nn.Dense(1), loss, nn.sgd(0.1))]
    ]
    assert_close(*steps, 1e-6)


@pytest.mark.parametrize("shaped", [False, True], ids=["like arrays", "like shapes"])
def test_a_compiled_step_is_the_jitted_one_bit_for_bit(key, shaped):
    trainer = nn.trainer(nn.serial(nn.Dense(2), nn.Dropout(0.5), nn.Dense(1)), nn.losses.mse, nn.adam(0.1))
    data = regression(8, weighted=True)
    begin = jax.jit(trainer.init)(key, data.x)
    like = jax.eval_shape(lambda: (begin, data)) if shaped else (begin, data)
    step = trainer.compile(*like)
    with compilations() as compiled:
        taken = step(begin, data)
    assert compiled == []
    assert_close(taken, jax.jit(trainer.step)(begin, data), 0)
    memory, cost = step.memory_analysis(), step.cost_analysis()
    assert memory is not None
    assert memory.argument_size_in_bytes >= sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    assert cost is not None
    assert cost["flops"] > 8 * (3 * 2 + 2) * 2  # forward alone


def test_a_compiled_step_refuses_what_it_was_not_compiled_for(key):
    trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    data = regression(8)
    begin = trainer.init(key, data.x)
    step = trainer.compile(begin, data)
    with pytest.raises(TypeError, match=r"(?s)compiled with float32\[8,3\] and called with float32\[4,3\]"):
        step(begin, regression(4))
    with pytest.raises(TypeError, match="input pytree"):
        step(begin, regression(8, weighted=True))
    with pytest.raises(nn.ShapeError, match=r"target"):
        trainer.compile(begin, data._replace(y=data.y[:, 0]))


def test_a_layer_may_look_at_its_key(key):
    """As one that draws with NumPy; its weights are drawn outside of any program."""

    @dataclasses.dataclass(frozen=True)
    class Drawn(nn.layers.Layer):
        def init(self, key, x):
            seed = int(jax.random.randint(key, (), 0, 1000))
            return {"w": jnp.asarray(np.random.default_rng(seed).normal(size=x.shape[-1]), jnp.float32)}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            return x * params["w"], state

    ts = nn.trainer(Drawn(), nn.losses.mse, nn.sgd(0.1)).init(key, jnp.zeros((2, 3)))
    assert ts.params["w"].shape == (3,)
