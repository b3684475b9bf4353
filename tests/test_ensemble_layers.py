"""An ensemble, and a vote, are what a loop over their members gives, on both roads and wherever a layer may be."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import accuracy_score

import jaxnn as nn
from jaxnn import ops, tree
from jaxnn.layers._rewriting import replace_layer

KEY = jax.random.key(0)
MODEL = nn.serial(nn.Dense(5), nn.BatchNorm(), nn.tanh, nn.Dropout(0.5), nn.Dense(3))
MEAN = nn.Ensemble(MODEL, 4, combine=ops.mean_of_members)


def data(n=12, dtype=np.float64):
    random = np.random.default_rng(0)
    return nn.Data(*map(jnp.asarray, (random.normal(size=(n, 4)).astype(dtype), random.integers(0, 3, size=n))))


def begun(model, dtype=np.float64):
    x = data(dtype=dtype).x
    return (*jax.jit(lambda key: model.init(key, x))(KEY), x)


def numpys(part, i):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[i], part)


@pytest.mark.parametrize("train", [True, False], ids=["train", "inference"])
def test_members_are_the_model_one_by_one(train, x64):
    """Each with its own draw of dropout, and its own running averages."""
    params, state, x = begun(MEAN)
    z, members = jax.jit(lambda *a: MEAN.predictions(*a, key=KEY, train=train))(params, state, x)
    y, new = jax.jit(lambda *a: MEAN.apply(*a, key=KEY, train=train))(params, state, x)
    alone = jax.jit(lambda key, *a: MODEL.apply(*a, key=key, train=train))
    for i in range(4):
        expected = alone(jax.random.fold_in(KEY, i), numpys(params, i), numpys(state["members"], i), x)
        chex.assert_trees_all_close((z[i], numpys(members, i)), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(y, np.asarray(z).mean(0), rtol=1e-12, atol=1e-13)
    chex.assert_trees_all_equal(new, {"weights": state["weights"], "members": members})
    moved = np.abs(np.diff(new["members"]["batch_norm_0"]["mean"], axis=0)).max() > 0
    assert moved == train  # and members moved apart


def test_weights_are_those_of_the_vote():
    params, state, x = begun(MEAN, np.float32)
    z, _ = MEAN.predictions(params, state, x)
    y, _ = MEAN.apply(params, state | {"weights": jnp.asarray([0.0, 0.0, 1.0, 0.0])}, x)
    np.testing.assert_allclose(y, z[2], rtol=1e-6)


@partial(jax.jit, static_argnums=0)
def there_and_back(layer, params, state, x):
    (y, _), residuals = layer.fwd(params, state, x)
    return y, layer.bwd(residuals, jnp.cos(y))


def test_an_ensemble_of_one_is_its_member(x64):
    model = nn.serial(nn.Dense(5), nn.tanh, nn.Dense(3))
    for combine, member_says in ((ops.mean_of_members, nn.identity), (ops.soft_vote, nn.log_softmax)):
        one = nn.Ensemble(model, 1, combine=combine)
        params, state, x = begun(one)
        alone = nn.serial(model, member_says)
        inner = {"serial_0": numpys(params, 0)}, {"serial_0": numpys(state["members"], 0)}

        y, (d_params, dx) = there_and_back(one, params, state, x)
        expected, (d_inner, d_x) = there_and_back(alone, *inner, x)
        chex.assert_trees_all_close((y, dx), (expected, d_x), rtol=1e-10, atol=1e-12)
        chex.assert_trees_all_close(numpys(d_params, 0), d_inner["serial_0"], rtol=1e-10, atol=1e-12)


def test_both_roads_train_alike(x64):
    """With running averages, dropout and a frozen layer."""
    model, batches = nn.Ensemble(MODEL, 3), data()

    def trained(gradient):
        trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(0.05), gradient=gradient, freeze="dense_0/.*")
        return nn.fit(trainer, trainer.init(KEY, batches.x), batches, epochs=2, batch_size=5)

    (hand, losses), (auto, _) = (jax.jit(lambda road=road: trained(road))() for road in (nn.by_hand, nn.by_autodiff))
    chex.assert_trees_all_close((hand.params, hand.state), (auto.params, auto.state), rtol=1e-8, atol=1e-10)
    assert hand.params["dense_0"]["w"] is None
    assert np.abs(np.diff(losses["loss"])).max() > 0


def test_a_frozen_norm_rests_in_every_member():
    model = nn.Ensemble(MODEL, 3)
    batches = data(dtype=np.float32)
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.5), freeze="(dense_0|batch_norm_0)/.*")
    begin = trainer.init(KEY, batches.x)
    assert tree.count(begin.frozen) == 3 * (4 * 5 + 5 + 10)
    end, _ = jax.jit(trainer.step)(begin, batches)
    chex.assert_trees_all_equal(end.frozen, begin.frozen)
    chex.assert_trees_all_equal(end.state, begin.state)
    assert np.abs(end.params["dense_1"]["w"] - begin.params["dense_1"]["w"]).max() > 0


def test_the_input_is_remembered_once():
    """Not once a member: what `fwd` keeps of x is x."""
    model, x = nn.serial(nn.Dense(2), nn.tanh), jax.ShapeDtypeStruct((10, 1000), jnp.float32)
    params, state = jax.eval_shape(lambda: nn.Ensemble(model, 8).init(KEY, x))
    residuals = jax.eval_shape(lambda *a: nn.Ensemble(model, 8).fwd(*a)[1], params, state, x)
    assert [leaf.shape for leaf in jax.tree.leaves(residuals)].count((10, 1000)) == 1
    assert not [leaf for leaf in jax.tree.leaves(residuals) if leaf.shape == (8, 10, 1000)]
    assert nn.summary(nn.Ensemble(model, 8), x).remembered < 10 * 1000 * 4


def test_it_is_evaluated_summarised_compared_and_saved(tmp_path):
    model, held_out = nn.Ensemble(nn.serial(nn.Dense(5), nn.relu, nn.Dense(3)), 4), data(dtype=np.float32)
    trainer = nn.trainer(model, nn.losses.cross_entropy, nn.sgd(0.1))
    ts = trainer.init(KEY, held_out.x)
    z, _ = model.predictions(ts.params, ts.state, held_out.x)
    mean = np.exp(z - np.log(np.exp(z).sum(-1, keepdims=True))).mean(0)
    expected = accuracy_score(held_out.y, mean.argmax(-1))
    np.testing.assert_allclose(nn.evaluate(trainer, ts, held_out, nn.metrics.accuracy), expected)
    np.testing.assert_allclose(np.exp(nn.predict(trainer, ts, held_out.x)), mean, rtol=1e-5)

    summary = nn.summary(model, held_out.x)
    assert (summary.parameters, summary.state) == (4 * (4 * 5 + 5 + 5 * 3 + 3), 4)
    assert summary.multiply_adds == 12 * 4 * (4 * 5 + 5 * 3)
    assert "the two roads agree" in str(nn.compare(model, nn.losses.cross_entropy, ts, held_out))

    np.savez(tmp_path / "ensemble.npz", **tree.named_leaves(ts.params))
    with np.load(tmp_path / "ensemble.npz") as file:
        again = tree.map_named(lambda name, leaf: file[name], ts.params)
    np.testing.assert_array_equal(model.apply(again, ts.state, held_out.x)[0], trainer.predict(ts, held_out.x))


def test_a_function_may_combine(x64):
    largest = lambda z, weights: z.max(0)
    model = nn.Ensemble(nn.Dense(3), 4, combine=largest)
    assert not model.hand
    assert nn.Ensemble(nn.Dense(3), 4).hand
    params, state, x = begun(model)
    np.testing.assert_allclose(model.apply(params, state, x)[0], model.predictions(params, state, x)[0].max(0))

    def loss(params):
        return jnp.sin(model.apply(params, state, x)[0]).sum()

    y, residuals = model.fwd(params, state, x)
    chex.assert_trees_all_close(model.bwd(residuals, jnp.cos(y[0]))[0], jax.grad(loss)(params), rtol=1e-10)


def test_ensembles_of_ensembles_and_towers_of_them():
    inner = nn.Ensemble(nn.Dense(4), 2, combine=ops.mean_of_members)
    model = nn.Ensemble(nn.serial(nn.repeat(inner, 3), nn.remat(inner)), 5)
    params, state, x = begun(model, np.float32)
    assert params["repeat_0"]["w"].shape == (5, 3, 2, 4, 4)
    assert model.apply(params, state, x)[0].shape == (12, 4)
    assert repr(model) == f"Ensemble({model.model!r}, members=5)"


INNER = nn.Ensemble(nn.serial(nn.Dense(4), nn.tanh), 2, combine=ops.mean_of_members)
NESTED = {
    "at once": nn.Ensemble(INNER, 3),
    "after a layer": nn.Ensemble(nn.serial(nn.Dense(5), nn.tanh, INNER), 3),
    "of the sizes of x": nn.Ensemble(nn.serial(nn.Dense(4), INNER), 2),  # where one might be taken for the other
    "in a tower": nn.Ensemble(nn.serial(nn.Dense(4), nn.repeat(INNER, 3)), 3),
    "in a residual": nn.Ensemble(nn.residual(INNER), 3),
    "in a vote": nn.Ensemble(nn.vote(INNER, nn.Dense(4)), 3),
    "in a remat": nn.Ensemble(nn.remat(INNER), 3),
}


@pytest.mark.parametrize("model", NESTED.values(), ids=NESTED)
def test_ensembles_within_ensembles_go_back_by_hand(model, x64):
    """Each remembers its own input once, and does not take that of another for it."""
    params, state, x = begun(model)

    def loss(params, x):
        return jnp.sin(model.apply(params, state, x)[0]).sum()

    expected = jax.jit(jax.grad(loss, (0, 1)))(params, x)
    chex.assert_trees_all_close(there_and_back(model, params, state, x)[1], expected, rtol=1e-9, atol=1e-12)


PAIR = nn.parallel(nn.Dense(2), nn.Dense(2))
REFUSED = {
    "combine": (
        lambda: nn.Ensemble(nn.Dense(2), 2, combine="mean"),
        TypeError,
        "expected combine to be an op or a function of outputs and weights, because it makes one output of those of "
        "members; got 'mean'",
    ),
    "combine of a vote": (
        lambda: nn.vote(nn.Dense(2), combine=None),
        TypeError,
        "expected combine to be an op or a function .*; got None",
    ),
    "two outputs": (
        lambda: nn.Ensemble(PAIR, 2).init(KEY, jnp.ones((2, 3))),
        TypeError,
        r"expected one array as the output of a member, because outputs are combined; got "
        r"\(float32\[2,2\], float32\[2,2\]\)",
    ),
    "two outputs of a member": (
        lambda: nn.vote(nn.Dense(2), PAIR).init(KEY, jnp.ones((2, 3))),
        TypeError,
        r"expected one array as the output of a member, .*; got \(float32\[2,2\], float32\[2,2\]\)",
    ),
    "none": (
        lambda: nn.Ensemble(MODEL, 0),
        ValueError,
        "expected members of at least 1, because it counts models; got 0",
    ),
    "half": (
        lambda: nn.Ensemble(MODEL, 2.5),
        TypeError,
        "expected members to be an int, because it counts models; got 2.5",
    ),
    "truth": (lambda: nn.Ensemble(MODEL, True), TypeError, "expected members to be an int, .*; got True"),
    "no classes": (
        lambda: nn.Ensemble(nn.Dense(1), 2).init(KEY, jnp.ones((2, 3))),
        nn.ShapeError,
        r"expected z of shape \(members, batch, ..., classes\) with 2 classes at least",
    ),
    "no votes": (nn.vote, ValueError, "expected members, because their outputs are combined; got none"),
    "taken": (
        lambda: nn.vote(weights=nn.Dense(2)),
        ValueError,
        r"expected no member named weights, because the state has the weights of all under that name; got Dense\(2\)",
    ),
    "outputs": (
        lambda: nn.vote(nn.Dense(2), nn.Dense(3)).init(KEY, jnp.ones((2, 4))),
        nn.ShapeError,
        r"expected outputs of one shape and dtype from all members, because they are combined; got dense_0 gives "
        r"float32\[2,2\], dense_1 gives float32\[2,3\]",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_ensemble_is_refused(make, error, message, unannotated):
    with pytest.raises(error, match=message):
        make()


def test_a_vote_is_a_loop_over_its_members(x64):
    deep = nn.serial(nn.Dense(5), nn.BatchNorm(), nn.tanh, nn.Dense(3))
    model = nn.vote(nn.Dense(3), deep, combine=ops.soft_vote)
    params, state, x = begun(model)
    state = state | {"weights": jnp.asarray([1.0, 3.0])}
    (y, new), _ = model.fwd(params, state, x, train=True)
    z_0, _ = nn.Dense(3).apply(params["dense_0"], {}, x)
    z_1, moved = deep.apply(params["serial_0"], state["serial_0"], x, train=True)
    expected = np.log((jax.nn.softmax(z_0) + 3 * jax.nn.softmax(z_1)) / 4)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    chex.assert_trees_all_close(new, {"weights": state["weights"], "dense_0": {}, "serial_0": moved})
    assert repr(nn.vote(nn.Dense(3), a=nn.Dense(3), combine=ops.hard_vote)) == (
        "vote(Dense(3), a=Dense(3), combine=hard_vote)"
    )
    frozen = {"dense_0": {"w": None, "b": None}, "serial_0": jax.tree.map(lambda p: p, params["serial_0"])}
    rested = model.freeze(frozen).apply(params, state, x, train=True)[1]
    chex.assert_trees_all_equal(rested["serial_0"], state["serial_0"])


def test_optax_trains_an_ensemble(loose):
    """A layer like any other: the loop is optax's."""
    model, batch = nn.Ensemble(nn.serial(nn.Dense(8), nn.tanh, nn.Dense(3)), 3), data(dtype=np.float32)
    params, state, x = begun(model, np.float32)
    optimizer = optax.adam(0.05)

    @jax.jit
    def step(params, opt_state):
        loss = lambda params: nn.losses.cross_entropy(model.apply(params, state, x)[0], batch.y).mean()
        value, grads = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, value

    opt_state, values = optimizer.init(params), []
    for _ in range(60):
        params, opt_state, value = step(params, opt_state)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]


def test_stacked_members_are_there_again():
    members = [jax.tree.map(np.asarray, MODEL.init(jax.random.key(i), data(dtype=np.float32).x)) for i in range(3)]
    params, state = nn.ensembles.stacked(members)
    chex.assert_trees_all_equal(nn.ensembles.unstacked(params, state), members)
    fitted = nn.ensembles.ensemble_of(MODEL, params, state)
    assert fitted.model == nn.Ensemble(MODEL, 3)
    for i in (0, 2, -1):
        one = nn.ensembles.member(fitted, i)
        assert one.model == MODEL
        chex.assert_trees_all_equal((one.params, one.state), members[i])
    traced = jax.jit(nn.ensembles.member)(fitted, 1)
    chex.assert_trees_all_equal((traced.params, traced.state), members[1])
    weighed = nn.ensembles.ensemble_of(MODEL, params, state, weights=jnp.asarray([1.0, 2.0, 0.0]))
    np.testing.assert_array_equal(weighed.state["weights"], [1, 2, 0])


def test_a_fitted_model_goes_through_transformations():
    x = jnp.ones((2, 4))

    def fitted(key):
        return nn.ensembles.Fitted(MODEL, *MODEL.init(key, x))

    alone = jax.jit(fitted)(KEY)
    assert alone.model == MODEL
    several = jax.jit(jax.vmap(fitted))(jax.random.split(KEY, 3))
    together = nn.ensembles.ensemble_of(several.model, several.params, several.state)
    assert jax.jit(lambda f: f.model.apply(f.params, f.state, x)[0])(together).shape == (2, 3)


W, B = np.zeros((3, 2), np.float32), np.zeros(2, np.float32)
NOT_STACKED = {
    "none": (
        lambda e: e.stacked([]),
        ValueError,
        "expected members to stack, because an ensemble has one at least; got none",
    ),
    "no pairs": (
        lambda e: e.stacked([e.Fitted(nn.Dense(2), {"w": W}, {})]),
        TypeError,
        r"expected a pair \(params, state\) of each member, because these are stacked; got a Fitted for member 0\n"
        r"  hint: \(fitted.params, fitted.state\), or \(nn.tree.merge\(ts.params, ts.frozen\), ts.state\) of a train",
    ),
    "frozen": (
        lambda e: e.stacked([({"w": None, "b": B}, {})] * 2),
        ValueError,
        r"expected all parameters of each member, because members are whole models; got none for w\n  hint: all "
        r"parameters of a train state are nn.tree.merge\(ts.params, ts.frozen\)",
    ),
    "other leaves": (
        lambda e: e.stacked([({"w": W, "b": B}, {}), ({"w": W}, {})]),
        ValueError,
        "expected params with the same leaves in all members, because they are stacked; member 1 differs from "
        "member 0: b of member 0 only\n  hint: nn.vote is for members of several structures",
    ),
    "more leaves": (
        lambda e: e.stacked([({"w": W}, {}), ({"w": W}, {}), ({"w": W}, {"mean": B})]),
        ValueError,
        "expected state with .*; member 2 differs from member 0: mean of member 2 only",
    ),
    "other empty layers": (
        lambda e: e.stacked([({"w": W, "relu_0": {}}, {}), ({"w": W}, {})]),
        ValueError,
        "expected params with .*; member 1 differs from member 0: in structure",
    ),
    "other shapes": (
        lambda e: e.stacked([({"w": W, "b": B}, {}), ({"w": W.T, "b": B.astype(np.float16)}, {})]),
        nn.ShapeError,
        r"expected params with leaves of the same shapes and dtypes in all members, because they are stacked; got b is "
        r"float32\[2\] in member 0 and float16\[2\] in member 1; w is float32\[3,2\] in member 0 and float32\[2,3\] in "
        r"member 1\n  hint: nn.vote is for members of several structures",
    ),
    "not stacked": (
        lambda e: e.unstacked({"w": W, "b": B}, {}),
        ValueError,
        r"expected leaves with one axis of members in front, because models were stacked; got params/b \(2,\), "
        r"params/w \(3, 2\)",
    ),
    "nothing": (lambda e: e.unstacked({}, {}), ValueError, "expected leaves with one axis .*; got none"),
    "weights": (
        lambda e: e.ensemble_of(nn.Dense(2), {"w": W[None]}, {}, weights=np.ones(3)),
        nn.ShapeError,
        r"expected weights of shape \(1,\), because each member has one; got \(3,\)",
    ),
    "no ensemble": (
        lambda e: e.member(e.Fitted(nn.Dense(2), {"w": W}, {}), 0),
        TypeError,
        r"expected a fitted Ensemble, because a member of it is wanted; got Dense\(2\)",
    ),
    "no member": (
        lambda e: e.member(e.ensemble_of(nn.Dense(2), {"w": W[None]}, {}), 1),
        IndexError,
        "expected a member from 0 to 0, because there are 1; got 1",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), NOT_STACKED.values(), ids=NOT_STACKED)
def test_members_that_cannot_be_stacked_are_named(make, error, message, unannotated):
    with pytest.raises(error) as raised:
        make(nn.ensembles)
    said = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert re.search(message, said), said


def test_a_layer_within_is_replaced_by_its_name():
    """So a head for other classes can be put in every member."""
    deep = nn.serial(stem=nn.Dense(5), head=nn.Dense(3))
    replaced = replace_layer(nn.Ensemble(deep, 3), "head", nn.Dense(7))
    assert replaced == nn.Ensemble(nn.serial(stem=nn.Dense(5), head=nn.Dense(7)), 3)
    model = nn.vote(nn.Dense(3), deep=deep, combine=ops.hard_vote)
    assert replace_layer(model, "deep/head", nn.tanh) == nn.vote(
        nn.Dense(3), deep=nn.serial(stem=nn.Dense(5), head=nn.tanh), combine=ops.hard_vote
    )
