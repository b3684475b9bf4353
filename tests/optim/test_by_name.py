"""Optimizers by name: each part moves as if it were alone, and what is left over, on either side, is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_rows import OPTIMIZERS

import jaxnn as nn
from jaxnn import optim

STEPS = 5
random = np.random.default_rng(0)
START = {
    "stem": {"w": random.normal(size=(2, 3)), "b": random.normal(size=3)},
    "body": {"w": random.normal(size=3), "held": None},
    "head": {"w": random.normal(size=3), "b": random.normal(size=())},
}
NOISE = jax.tree.map(lambda p: random.normal(size=(STEPS, *np.shape(p))), START)


def path(optimizer, names=None):
    """Parameters after each step on a noisy quadratic, by name, where only these are parameters."""
    part = lambda tree: {name: leaf for name, leaf in nn.tree.named_leaves(tree).items() if names in (None, name)}
    params, noise = (jax.tree.map(lambda a: jnp.asarray(a, float), part(tree)) for tree in (START, NOISE))

    def step(carry, noise):
        params, state = carry
        grads = jax.tree.map(jnp.add, params, noise)
        updates, state = optimizer.update(grads, state, params, value=sum(g.sum() for g in jax.tree.leaves(grads)))
        params = optim.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(step, (params, optimizer.init(params)), noise)[1]


def test_each_part_moves_as_its_optimizer_alone_moves_it_and_the_first_pattern_decides(x64):
    rules = {".*/b": optim.sgd(0.5), "stem/.*": optim.adamw(0.1), ".*": optim.momentum(0.2)}
    got = jax.jit(lambda: path(optim.by_name(rules)))()
    for name, pattern in {
        "stem/b": ".*/b", "head/b": ".*/b", "stem/w": "stem/.*", "body/w": ".*", "head/w": ".*",
    }.items():  # fmt: skip
        expected = jax.jit(lambda name=name, pattern=pattern: path(rules[pattern], name))()
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-12, err_msg=name)


def test_rates_of_parts_can_be_swept(x64):
    run = lambda slow, fast: path(optim.by_name({"stem/.*": optim.adam(slow), ".*": optim.adam(fast)}))
    rates = jnp.array([[0.1, 0.2], [0.1, 0.3], [0.05, 0.2]])
    mapped = jax.jit(jax.vmap(run))(*rates.T)
    for i, pair in enumerate(rates):
        for name, leaf in jax.jit(run)(*pair).items():
            np.testing.assert_allclose(mapped[name][i], leaf, rtol=1e-12)
    assert (mapped["head/w"][0] == mapped["head/w"][2]).all()
    assert (mapped["stem/w"][0] == mapped["stem/w"][1]).all()


def outlines(optimizer, params):
    return {
        name: (leaf.shape, leaf.dtype)
        for name, leaf in nn.tree.named_leaves(jax.eval_shape(optimizer.init, params)).items()
    }


def test_a_part_that_is_frozen_is_known_by_its_names_and_keeps_no_state():
    rules = {"head/.*": optim.adam(0.1), "stem/.*": optim.adam(0.1), ".*": optim.sgd(0.1)}
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), {"stem": {"w": None, "b": None}, "head": {"w": 1.0}})
    state = optim.by_name(rules).init(params)
    assert list(state.inner_states) == ["head/.*"]
    assert len(jax.tree.leaves(state)) == 3  # the count, and two means of one leaf
    updates, _ = optim.by_name(rules).update(params, state, params)
    assert updates["stem"] == {"w": None, "b": None}
    assert optim.by_name({"head/.*": optim.sgd(0.1), "stem/w": optim.sgd(0.1)}).init(params)  # stem/b does not learn


def test_it_stands_within_a_mask():
    rules = {"head/.*": optim.sgd(0.1), ".*": optim.sgd(1.0)}
    params = {"stem": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2)}}
    masked = optim.masked(optim.by_name(rules), {"stem": {"w": True}, "head": {"w": False}})
    updates, _ = masked.update(params, masked.init(params), params)
    assert jax.tree.map(lambda u: u.tolist(), updates) == {"stem": {"w": [-1.0, -1.0]}, "head": {"w": [1.0, 1.0]}}


def test_extra_arguments_go_to_every_part():
    plateau = lambda: optim.chain(optim.sgd(0.1), optim.reduce_on_plateau(0.5, 1))
    optimizer = optim.by_name({"stem/.*": plateau(), ".*": plateau()})
    params = {"stem": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2)}}
    _, state = optimizer.update(params, optimizer.init(params), params, value=jnp.float32(3.0), unknown=0)
    assert [float(value) for _, value in optax.tree.get_all_with_path(state, "best_value")] == [3.0, 3.0]


def test_a_line_search_of_one_part_looks_along_it_while_the_others_stand(x64):
    f = lambda p: 3.0 * (p["a"] ** 2).sum() + (p["a"] * p["b"]).sum() + (p["b"] ** 2).sum()
    search = lambda: optim.chain(optim.sgd(1.0), optim.scale_by_backtracking_linesearch(15))
    p = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5, 0.25])}

    @jax.jit
    def both(p):
        value, grad = jax.value_and_grad(f)(p)
        one = optim.by_name({"a": search(), "b": optim.sgd(0.5)})
        alone, of_a = search(), lambda a: f({"a": a, "b": p["b"]})
        got, _ = one.update(grad, one.init(p), p, value=value, grad=grad, value_fn=f)
        expected, _ = alone.update(grad["a"], alone.init(p["a"]), p["a"], value=value, grad=grad["a"], value_fn=of_a)
        return got, {"a": expected, "b": -0.5 * grad["b"]}

    got, expected = both(p)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), got, expected)
    assert (np.abs(got["a"]) < np.abs(jax.grad(f)(p)["a"])).all()  # the search has shortened it


def test_a_model_learns_with_it(key):
    model = nn.serial(stem=nn.Dense(2), head=nn.Dense(1))
    t = nn.trainer(model, nn.losses.mse, optim.by_name({"stem/.*": optim.sgd(0.0), ".*": optim.adam(0.1)}))
    data = nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1)))
    begun = t.init(key, data.x)
    ts, _ = nn.fit(t, begun, data, epochs=2, batch_size=2)
    assert jax.tree.map(lambda a, b: bool((a == b).all()), ts.params, begun.params) == {
        "stem": {"w": True, "b": True}, "head": {"w": False, "b": False},
    }  # fmt: skip


# Names in states, by which `refreeze` tells what belongs to which parameter.


def test_what_an_optimizer_keeps_of_a_parameter_does_not_depend_on_what_others_there_are():
    one, other = (jax.ShapeDtypeStruct((2, 3), jnp.float32), jax.ShapeDtypeStruct((4, 5), jnp.float32))
    for row in OPTIMIZERS:
        optimizer = row.ours(**row.hyperparameters)
        part, whole = (outlines(optimizer, {"a": a, "w": one}) for a in (None, other))
        assert {name: whole[name] for name in part} == part, row.name
    vector = [outlines(optim.flatten(optim.adam(0.1)), {"a": a, "w": one}) for a in (None, other)]
    assert vector[0].keys() == vector[1].keys()  # of which this is an exception
    assert vector[0] != vector[1]


# Errors.


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["stem/.*"], r"a pattern for every parameter, .*; none of 'stem/\.\*' matches body/w, head/b, head/w\n  hint"),
        ([], "a pattern for every parameter, because each is moved by"),
        (["stem", ".*"], r"every pattern to match .*; 'stem' matches none of: body/held, body/w, .*\n  hint: .*stem/"),
        (["stem/[", ".*"], r"a regular expression, such as 'stem/\.\*'; got 'stem/\['"),
        (
            [".*", "stem/.*"],
            r"patterns with the wider ones last, because the first that matches a name decides; '\.\*' leaves nothing "
            r"to 'stem/\.\*', which comes after it",
        ),
    ],
    ids=["a parameter", "all", "a pattern", "no pattern", "the order"],
)
def test_what_is_left_over_is_refused(patterns, message):
    params = jax.tree.map(jnp.asarray, START)
    with pytest.raises(ValueError, match=f"expected {message}"):
        optim.by_name({pattern: optim.sgd(0.1) for pattern in patterns}).init(params)


def test_the_rest_may_be_nothing():
    rules = {name: optim.sgd(0.1) for name in ("stem/.*", "body/.*", "head/.*", ".*")}
    assert list(optim.by_name(rules).init(jax.tree.map(jnp.asarray, START)).inner_states) == list(rules)[:3]


@pytest.mark.usefixtures("unannotated")
def test_a_rate_is_no_optimizer():
    with pytest.raises(TypeError, match=r"an optimizer for 'stem/\.\*', because it has init .*; got 0.1\n  hint: by"):
        optim.by_name({"stem/.*": 0.1})
