"""A run that begins with what another model has learnt: what is taken over, what is fresh, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, regression, said

import jaxnn as nn
from jaxnn import optim
from jaxnn.gradients import with_penalty
from jaxnn.training import transfer

ROADS = pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
float64 = pytest.mark.usefixtures("x64")
BODY = ("stem/.*", "norm/.*")
OLD = nn.serial(stem=nn.Dense(4, bias=False), norm=nn.BatchNorm(), tanh=nn.tanh, head=nn.Dense(3))
NEW = nn.replace_layer(OLD, "head", nn.Dense(1))
DATA = regression(8)
HEAD = {"head/w", "head/b"}


def trainer(freeze=(), *, optimizer=None, gradient=nn.by_autodiff, model=NEW):
    optimizer = optim.adam(0.05) if optimizer is None else optimizer
    return nn.trainer(model, nn.losses.mse, optimizer, gradient=gradient, freeze=freeze)


@functools.cache
def source(dtype="float32"):
    """A trained model of three outputs, whose running statistics have moved: parameters and state."""
    data = regression(8, dtype=dtype)
    data = data._replace(y=jnp.concatenate([data.y, -data.y, data.y**2], axis=1))
    t = trainer(model=OLD)
    ts, _ = jax.jit(lambda key: nn.fit(t, t.init(key, data.x), data, epochs=3, batch_size=4))(jax.random.key(7))
    return ts.params, ts.state


def whole(ts):
    return nn.tree.named_leaves(nn.tree.merge(ts.params, ts.frozen))


def leaves(tree):
    return {name: np.asarray(leaf) for name, leaf in nn.tree.named_leaves(tree).items()}


# What it begins with.


def test_all_is_taken_over_but_what_is_fresh_which_is_as_init_draws_it(key):
    t = trainer()
    params, state = source()
    ts, drawn = jax.jit(lambda key: (transfer(t, key, DATA.x, params, state, fresh="head/.*"), t.init(key, DATA.x)))(
        key
    )
    got, expected = whole(ts), leaves(params) | {name: whole(drawn)[name] for name in HEAD}
    assert got.keys() == expected.keys() == {"stem/w", "norm/scale", "norm/offset", *HEAD}
    for name, leaf in expected.items():
        np.testing.assert_array_equal(got[name], leaf, err_msg=name)
    assert_close(ts.state, state, 0)
    assert (ts.state["norm"]["mean"] != drawn.state["norm"]["mean"]).all()  # or the line above would mean nothing
    assert (got["stem/w"] != whole(drawn)["stem/w"]).all()


def test_the_optimizer_the_counts_and_the_key_begin_anew(key):
    t = trainer()
    ts = jax.jit(lambda key: transfer(t, key, DATA.x, *source(), fresh=("head/.*",)))(key)
    assert_close(ts.opt_state, t.optimizer.init(ts.params), 0)
    assert (int(ts.step), int(ts.epoch), int(ts.position)) == (0, 0, 0)
    assert ts.key == key


def test_running_statistics_can_be_fresh_by_themselves_and_nothing_need_be(key):
    params, state = source()
    t = trainer(model=OLD)
    ts = transfer(t, key, DATA.x, params, state, fresh="norm/(mean|var)")
    assert_close(ts.params, params, 0)
    assert_close(ts.state, {**state, "norm": {"mean": np.zeros(4), "var": np.ones(4)}}, 0)
    same = transfer(t, key, jax.ShapeDtypeStruct((1, 3), jnp.float32), params, state)
    assert_close((same.params, same.state), (params, state), 0)


def test_what_is_given_may_be_numpys_and_of_another_floating_dtype(key):
    params, state = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), source())
    ts = transfer(trainer(model=OLD), key, DATA.x, params, state)
    assert_close((ts.params, ts.state), source(), 0)
    assert {leaf.dtype for leaf in whole(ts).values()} == {jnp.dtype("float32")}
    half = transfer(trainer(model=OLD), key, DATA.x.astype(jnp.bfloat16), params, state)
    assert {leaf.dtype for leaf in whole(half).values()} == {jnp.dtype("bfloat16")}


def test_what_is_left_behind_is_named_and_a_model_can_be_a_part_of_another(key):
    """The old head has no place: a pattern says that this is meant. All that there was stands in a part of the new."""
    params, state = source()
    model = nn.serial(body=nn.replace_layer(OLD, "head", nn.serial()), out=nn.Dense(1))
    given = {"body": params}, {"body": state}
    ts = transfer(trainer("body/.*", model=model), key, DATA.x, *given, fresh=("body/head/.*", "out/.*"))
    assert leaves(ts.params).keys() == {"out/w", "out/b"}
    assert leaves(ts.frozen).keys() == {"body/stem/w", "body/norm/scale", "body/norm/offset"}
    np.testing.assert_array_equal(ts.frozen["body"]["stem"]["w"], params["stem"]["w"])
    np.testing.assert_array_equal(ts.state["body"]["norm"]["var"], state["norm"]["var"])


@ROADS
def test_a_run_from_there_is_the_run_from_parameters_copied_by_hand(key, road):
    t, (params, state) = trainer("stem/.*", gradient=road), source()

    @jax.jit
    def both(key):
        drawn = t.init(key, DATA.x)
        by_hand = {**params, "head": drawn.params["head"]}
        begun = t.begin(key, by_hand, state), transfer(t, key, DATA.x, params, state, fresh="head/.*")
        return [nn.fit(t, ts, DATA, epochs=3, batch_size=4) for ts in begun], nn.fit(
            t, drawn, DATA, epochs=3, batch_size=4
        )

    (copied, transferred), scratch = both(key)
    for got, expected in zip(jax.tree.leaves(transferred[1]), jax.tree.leaves(copied[1]), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert_close(whole(transferred[0]), whole(copied[0]), 0)
    assert_close(transferred[0].state, copied[0].state, 0)
    assert (transferred[1]["loss"] != scratch[1]["loss"]).all()


@float64
def test_both_roads_go_the_same_way(key):
    data, (params, state) = regression(8), source("float64")

    def run(road):
        t = trainer(BODY, gradient=road)
        ts = transfer(t, key, data.x, params, state, fresh="head/.*")
        return nn.fit(t, ts, data, epochs=3, batch_size=4)[0].params

    auto, hand = jax.jit(lambda: (run(nn.by_autodiff), run(nn.by_hand)))()
    assert_close(hand, auto, 1e-10)


# What is frozen.


@ROADS
def test_what_is_frozen_rests_to_the_last_bit_and_the_optimizer_knows_nothing_of_it(key, road):
    """Neither weight decay nor a penalty moves it, and running statistics are those of the source."""
    optimizer = optim.adamw(0.05, weight_decay=0.1)
    t = trainer(BODY, optimizer=optimizer, gradient=with_penalty(road, nn.losses.Penalty(l2=0.1)))
    params, state = source()

    @jax.jit
    def run(key):
        ts = transfer(t, key, DATA.x, params, state, fresh="head/.*")
        return ts, nn.fit(t, ts, DATA, epochs=3, batch_size=4)[0]

    begun, ts = run(key)
    frozen = leaves(ts.frozen)
    assert frozen.keys() == {"stem/w", "norm/scale", "norm/offset"}
    for name, leaf in frozen.items():
        np.testing.assert_array_equal(leaf, leaves(params)[name], err_msg=name)
    assert_close(ts.state, state, 0)
    assert all((whole(ts)[name] != whole(begun)[name]).all() for name in HEAD)
    kept = {name.partition("/")[2].partition("/")[2] for name in leaves(ts.opt_state)}
    assert kept >= HEAD
    assert not kept & {"stem/w", "norm/scale", "norm/offset"}


@ROADS
def test_without_freezing_decay_and_statistics_do_move_it(key, road):
    """What the test above would see if nothing were held."""
    t = trainer(optimizer=optim.adamw(0.05, weight_decay=0.1), gradient=road)
    ts = transfer(t, key, DATA.x, *source(), fresh="head/.*")
    ts, _ = nn.fit(t, ts, DATA, epochs=1, batch_size=4)
    assert all((whole(ts)[name] != leaf).all() for name, leaf in leaves(source()[0]).items() if name not in HEAD)
    assert (ts.state["norm"]["mean"] != source()[1]["norm"]["mean"]).all()


@ROADS
def test_a_frozen_normalisation_uses_the_statistics_of_the_source(key, road):
    params, state = source()

    def prediction(t, key):
        ts = transfer(t, key, DATA.x, params, state, fresh="head/.*")
        return t.step(ts, DATA)[1].prediction, t.predict(ts, DATA.x)

    held, free = trainer(BODY, gradient=road), trainer("stem/.*", gradient=road)
    frozen, learning = jax.jit(lambda key: (prediction(held, key), prediction(free, key)))(key)
    np.testing.assert_allclose(*frozen, rtol=1e-5, atol=1e-6)
    assert np.abs(learning[0] - learning[1]).max() > 0.01  # one that learns uses those of the batch


@ROADS
def test_no_gradient_of_what_is_frozen_is_computed(key, road):
    """Of a tower of four wide layers under a head: operations of a step, against the model's forward alone."""
    tower = nn.serial(*[nn.Dense(64) for _ in range(4)])
    old, new = nn.serial(body=tower, head=nn.Dense(9)), nn.serial(body=tower, head=nn.Dense(2))
    data = nn.Data(jnp.ones((128, 64)), jnp.zeros((128, 2)))
    given = jax.eval_shape(old.init, key, data.x)

    def operations(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]

    def step(freeze):
        t = trainer(freeze, model=new, gradient=road, optimizer=optim.sgd(0.1))
        ts = jax.eval_shape(lambda key, given: transfer(t, key, data.x, *given, fresh="head/.*"), key, given)
        return operations(t.step, ts, data)

    params, state = jax.eval_shape(new.init, key, data.x)
    forward = operations(lambda params: new.apply(params, state, data.x)[0], params)
    assert step("body/.*") < 1.1 * forward
    assert step(()) > 2.7 * forward


# Gradual unfreezing, with rates by part.


@ROADS
def test_parts_are_unfrozen_one_after_another_each_at_a_rate_of_its_own(key, road):
    """With plain descent a first step is the rate times the gradient: it tells the rates of parts apart."""
    params, state = source()

    def run(key, rates):
        optimizer = optim.by_name({f"{part}/.*": optim.sgd(rate) for part, rate in rates.items()})
        t, seen = trainer(BODY, optimizer=optimizer, gradient=road), []
        ts = transfer(t, key, DATA.x, params, state, fresh="head/.*")
        for frozen in (BODY, ("stem/.*",), ()):
            t, ts = nn.refreeze(t, ts, frozen)
            before = whole(ts)
            ts, _ = nn.fit(t, ts, DATA, epochs=1, batch_size=8)
            seen.append({name: leaf - before[name] for name, leaf in whole(ts).items()})
        return seen

    run = jax.jit(run)
    alike = run(key, {"head": 1e-3, "norm": 1e-3, "stem": 1e-3})
    falling = run(key, {"head": 1e-3, "norm": 5e-4, "stem": 1e-4})
    moved = [{name.split("/")[0] for name, step in stage.items() if (step != 0).any()} for stage in falling]
    assert moved == [{"head"}, {"head", "norm"}, {"head", "norm", "stem"}]
    np.testing.assert_allclose(falling[1]["norm/scale"], 0.5 * alike[1]["norm/scale"], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(falling[2]["stem/w"], 0.1 * alike[2]["stem/w"], rtol=0.02, atol=1e-6)


# Transformations.


@float64
def test_an_ensemble_is_transferred_by_vmap_over_keys_and_sources(key):
    data, t, old = regression(8), trainer(BODY), trainer(model=OLD)
    keys = jax.random.split(key, 3)

    def run(key, params, state):
        ts = transfer(t, key, data.x, params, state, fresh="head/.*")
        ts, history = nn.fit(t, ts, data, epochs=2, batch_size=4)
        return whole(ts), ts.state, history

    begun = jax.jit(jax.vmap(lambda key: old.init(key, data.x)))(keys)
    many = jax.jit(jax.vmap(run))(keys, begun.params, begun.state)
    one_source = jax.jit(jax.vmap(run, (0, None, None)))(
        keys, *jax.tree.map(lambda a: a[1], (begun.params, begun.state))
    )
    run = jax.jit(run)
    for i in range(3):
        member = jax.tree.map(lambda a, i=i: a[i], (keys, begun.params, begun.state))
        assert_close(jax.tree.map(lambda a, i=i: a[i], many), run(*member), 1e-9)
    assert_close(jax.tree.map(lambda a: a[1], one_source), jax.tree.map(lambda a: a[1], many), 1e-9)
    stems = one_source[0]["stem/w"], one_source[0]["head/w"]
    assert (stems[0][0] == stems[0][2]).all()  # a body from one source, and heads from keys
    assert (stems[1][0] != stems[1][2]).all()


def test_within_jit_only_what_is_fresh_is_drawn(key):
    """Of a body with a hundred times as many parameters as the head nothing is computed."""
    model = nn.serial(body=nn.Dense(100), head=nn.Dense(1))
    x = jax.ShapeDtypeStruct((1, 100), jnp.float32)
    given = jax.eval_shape(model.init, key, x)

    def drawing(fresh):
        begin = jax.jit(lambda key, given: transfer(trainer(model=model), key, x, *given, fresh=fresh).params)
        return begin.lower(key, given).compile().cost_analysis()["flops"]

    assert drawing("head/.*") < 0.05 * drawing(".*")


# Errors.

WRONG = """\
expected every leaf of the model among what is given, in its shape, and no other, because leaves that are not fresh \
are taken over by name; got
{}
  hint: {}"""


def refused(key, model, given, fresh=()):
    with pytest.raises(ValueError, match="expected every leaf of the model among what is given") as error:
        transfer(trainer(model=model), key, DATA.x, *given, fresh=fresh)
    return said(error.value)


def test_every_leaf_that_cannot_be_taken_over_is_named_at_once_and_the_pattern_that_would_do(key):
    model = nn.serial(
        stem=nn.Dense(4), norm=nn.BatchNorm(), neck=nn.serial(a=nn.Dense(4), b=nn.Dense(4)), head=nn.Dense(1)
    )
    assert refused(key, model, source()) == WRONG.format(
        "  head/b: float32[1] in the model, and float32[3] given\n"
        "  head/w: float32[4,1] in the model, and float32[4,3] given\n"
        "  neck/a/b: float32[4] in the model, and none given\n"
        "  neck/a/w: float32[4,4] in the model, and none given\n"
        "  neck/b/b: float32[4] in the model, and none given\n"
        "  neck/b/w: float32[4,4] in the model, and none given\n"
        "  stem/b: float32[4] in the model, and none given",
        "fresh=('head/.*', 'neck/.*', 'stem/b',) draws these anew, and leaves behind what has no place",
    )
    ts = transfer(trainer(model=model), key, DATA.x, *source(), fresh=("head/.*", "neck/.*", "stem/b"))
    assert (ts.params["stem"]["w"] == source()[0]["stem"]["w"]).all()


def test_what_has_no_place_in_the_model_is_no_slip_that_passes(key):
    model = nn.serial(stem=nn.Dense(4, bias=False), head=nn.Dense(3))
    assert refused(key, model, source()) == WRONG.format(
        "  norm/offset: none in the model, and float32[4] given\n"
        "  norm/scale: none in the model, and float32[4] given\n"
        "  norm/mean: none in the model, and float32[4] given\n"
        "  norm/var: none in the model, and float32[4] given",
        "fresh=('norm/.*',) draws these anew, and leaves behind what has no place",
    )
    transfer(trainer(model=model), key, DATA.x, *source(), fresh="norm/.*")


def test_state_that_is_missing_is_missed(key, unannotated):
    params, _ = source()
    assert "  norm/mean: float32[4] in the model, and none given\n" in refused(key, OLD, (params, {}))
    assert refused(key, OLD, (params, None)).endswith(
        "norm/var: float32[4] in the model, and none given\n"
        "  hint: fresh=('norm/mean', 'norm/var',) draws these anew, and leaves behind what has no place"
    )


def test_parameters_without_those_that_were_frozen_lead_to_merge(key):
    params, state = source()
    ts = trainer("stem/.*", model=OLD).begin(key, params, state)
    assert refused(key, OLD, (ts.params, ts.state)) == WRONG.format(
        "  stem/w: float32[3,4] in the model, and none given",
        "all parameters of a train state are nn.tree.merge(ts.params, ts.frozen)",
    )


def test_another_kind_of_dtype_and_what_is_no_array_are_refused(key):
    params, state = source()
    given = {**params, "head": {"w": params["head"]["w"].astype(jnp.int32), "b": "no"}}
    text = refused(key, OLD, (given, state))
    assert "  head/b: float32[3] in the model, and 'no' given\n" in text
    assert "  head/w: float32[4,3] in the model, and int32[4,3] given\n" in text


def test_a_pattern_that_matches_nothing_is_refused(key):
    with pytest.raises(
        ValueError,
        match=r"expected every pattern to match the whole name of some leaf; 'haed/.\*' matches none of: "
        "head/b, head/w, norm/mean, norm/offset, norm/scale, norm/var, stem/w",
    ):
        transfer(trainer(), key, DATA.x, *source(), fresh=("head/.*", "haed/.*"))
    with pytest.raises(
        ValueError, match=r"'haed/.\*' matches none of: head/b, head/w, norm/offset, norm/scale, stem/w"
    ):
        transfer(trainer("haed/.*"), key, DATA.x, *source(), fresh="head/.*")


def test_errors_come_within_jit_and_those_of_layers_too(key):
    t = trainer()
    with pytest.raises(ValueError, match="expected every leaf of the model among what is given"):
        jax.jit(lambda key: transfer(t, key, DATA.x, *source()))(key)
    wrong = trainer(model=nn.serial(nn.Dense(4), nn.residual(nn.Dense(3))))
    with pytest.raises(nn.ShapeError, match="expected"):
        transfer(wrong, key, DATA.x, *source())
