"""A batch in parts: the gradient of the whole, with less memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import tree
from jaxnn._micro_batches import MicroBatched, largest_micro_batch, micro_batched
from jaxnn.layers._layer import Layer
from jaxnn.losses import Penalty

ROADS = {"by_autodiff": nn.by_autodiff, "by_hand": nn.by_hand}
roads = pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
MODEL = nn.serial(nn.Dense(4), nn.tanh, nn.Dense(3))
N, TIME = 10, 5
random = np.random.default_rng(0)


def batches():
    """Of 10 examples: without weights, with them, some of them 0, all of a part 0, all of them; and of tokens."""
    x, y = random.normal(size=(N, TIME, 3)), random.integers(0, 3, (N, TIME))
    w = random.uniform(0.5, 2, (N, TIME))
    of_examples, padded, a_part, nothing = w[:, 0], w.copy(), w[:, 0].copy(), np.zeros(N)
    padded[:, 3:] = padded[2:4] = 0
    a_part[:4] = 0
    return {
        "unweighted": nn.Data(x[:, 0], y[:, 0]),
        "unweighted tokens": nn.Data(x, y),
        "weighted": nn.Data(x[:, 0], y[:, 0], of_examples),
        "whole numbers": nn.Data(x[:, 0], y[:, 0], (3 * of_examples).astype(int)),
        "examples of tokens": nn.Data(x, y, of_examples),
        "tokens": nn.Data(x, y, w),
        "padded tokens": nn.Data(x, y, padded),
        "nothing in a part": nn.Data(x[:, 0], y[:, 0], a_part),
        "nothing": nn.Data(x[:, 0], y[:, 0], nothing),
    }


def begun(model, x):
    """Parameters, and a state of zeros, without a program that draws them."""
    params, state = jax.eval_shape(model.init, jax.random.key(0), x)
    own = np.random.default_rng(1)
    draw = lambda leaf: jnp.asarray(own.normal(size=leaf.shape).astype(leaf.dtype))
    return jax.tree.map(draw, params), jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)


def taken(roads, batch, *, model=MODEL, loss=nn.losses.cross_entropy, freeze=(), **keywords):
    """What each road returns, all of them in one program."""
    whole, state = begun(model, batch.x)
    frozen, params = tree.split(whole, tree.mask(whole, freeze))
    gradients = lambda *given: [road(model, loss)(*given, **keywords) for road in roads]
    return jax.jit(gradients)(params, frozen, state, batch.on_device())


def assert_close(these, expected, rtol=1e-12, atol=1e-13):
    for one in these:
        chex.assert_trees_all_close(one, expected, rtol=rtol, atol=atol)


def parts_of(size):
    """Both roads in parts, after one that takes the whole."""
    return [nn.by_autodiff, *(micro_batched(road, size) for road in ROADS.values())]


# The whole.


@pytest.mark.parametrize("name", batches())
def test_parts_give_value_prediction_and_gradient_of_the_whole(name, x64):
    """Parts of 4, of which the last has 2 examples."""
    whole, *parts = taken(parts_of(4), batches()[name])
    assert_close(parts, whole)
    assert (name == "nothing") != jax.tree.leaves(whole[2])[0].any()


def test_every_size_gives_the_same(x64):
    whole, *parts = taken([nn.by_hand, *(micro_batched(nn.by_hand, size) for size in (1, 3, 5, 9, 10, 64))],
                          batches()["weighted"])  # fmt: skip
    assert_close(parts, whole)


def test_a_batch_of_one_part_is_taken_as_it_is():
    """To the last bit, and with the same key."""
    model = nn.serial(nn.Dense(4), nn.Dropout(0.5), nn.Dense(3))
    whole, one = taken([nn.by_hand, micro_batched(nn.by_hand, N)], batches()["unweighted"], model=model,
                       key=jax.random.key(3))  # fmt: skip
    chex.assert_trees_all_equal(one, whole)


def test_the_mean_of_parts_would_not_do(x64):
    """What `MultiSteps` gathers is the mean of the parts, whatever they weigh: here it is another number."""
    batch = batches()["padded tokens"]
    parts = [taken([nn.by_hand], jax.tree.map(lambda a, rows=rows: a[rows], batch))[0][0] for rows in
             (slice(0, 5), slice(5, 10))]  # fmt: skip
    (whole,) = taken([micro_batched(nn.by_hand, 5)], batch)
    assert abs(np.mean(parts) - whole[0]) > 1e-3


@pytest.mark.oracle
def test_it_is_the_accumulated_gradient_of_pytorch(x64):
    torch = pytest.importorskip("torch")
    batch = batches()["weighted"]
    params, _ = begun(MODEL, batch.x)
    ((_, _, grads),) = taken([micro_batched(nn.by_autodiff, 4)], batch)

    t = lambda a: torch.tensor(np.asarray(a))
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)).double()
    with torch.no_grad():
        for linear, name in ((model[0], "dense_0"), (model[2], "dense_1")):
            linear.weight.copy_(t(params[name]["w"]).T)
            linear.bias.copy_(t(params[name]["b"]))
    x, y, w = map(t, batch)
    for begin in range(0, N, 4):
        rows = slice(begin, begin + 4)
        losses = torch.nn.functional.cross_entropy(model(x[rows]), y[rows], reduction="none")
        ((w[rows] * losses).sum() / w.sum()).backward()
    theirs = {
        "dense_0": {"w": model[0].weight.grad.T, "b": model[0].bias.grad},
        "dense_1": {"w": model[2].weight.grad.T, "b": model[2].bias.grad},
    }
    for name, leaf in tree.named_leaves(theirs).items():
        np.testing.assert_allclose(tree.named_leaves(grads)[name], leaf.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_run_in_parts_is_the_run_of_the_whole(x64):
    """`fit`, with its last batch wrapped around, mapped over learning rates."""
    batch = batches()["weighted"].on_device()
    params, _ = begun(MODEL, batch.x)

    def end(rate, road):
        trainer = nn.trainer(MODEL, nn.losses.cross_entropy, nn.momentum(rate), gradient=road)
        ts = jax.eval_shape(trainer.init, jax.random.key(0), batch.x)
        ts = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), ts._replace(key=None))
        ts, history = nn.fit(trainer, ts._replace(params=params, key=jax.random.key(0)), batch, epochs=2, batch_size=7)
        return ts.params, history

    whole, *parts = jax.jit(jax.vmap(lambda rate: [end(rate, road) for road in parts_of(3)]))(jnp.array([0.01, 0.3]))
    assert_close(parts, whole, rtol=1e-9, atol=1e-11)


def test_derivatives_go_through(x64):
    """By the inputs, of a number made of the gradient."""
    batch = batches()["weighted"].on_device()
    params, state = begun(MODEL, batch.x)

    def number(x, road):
        value, _, grads = road(MODEL, nn.losses.cross_entropy)(params, {}, state, batch._replace(x=x))
        return value + sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(grads))

    whole, *parts = jax.jit(lambda x: [jax.grad(number)(x, road) for road in parts_of(4)])(batch.x)
    assert_close(parts, whole, rtol=1e-10, atol=1e-12)


# What goes with it.


def test_frozen_leaves_have_no_gradient(x64):
    whole, *parts = taken(parts_of(4), batches()["weighted"], freeze=["dense_0/.*"])
    assert_close(parts, whole)
    assert set(tree.named_leaves(parts[1][2])) == {"dense_1/w", "dense_1/b"}


@roads
def test_a_penalty_may_be_inside_or_outside(road, x64):
    penalty = Penalty(l2=0.1, l1=0.01)
    outside, inside = (
        nn.with_penalty(micro_batched(road, 4), penalty),
        micro_batched(nn.with_penalty(road, penalty), 4),
    )
    whole, *parts = taken([nn.with_penalty(road, penalty), outside, inside], batches()["padded tokens"])
    assert_close(parts, whole)


@roads
def test_a_loss_scale_is_handed_on(road, x64):
    """It changes nothing in float64, and is what the road was given."""
    seen = []

    def spying(model, loss):
        gradient = road(model, loss)

        def spy(*arguments, loss_scale=None, **keywords):
            seen.append(loss_scale)
            return gradient(*arguments, loss_scale=loss_scale, **keywords)

        return spy

    batch = batches()["weighted"]
    parts = taken([micro_batched(spying, 4)], batch, loss_scale=2.0**10)
    assert set(seen) == {2.0**10}
    assert_close(parts, *taken([road], batch))


def test_a_road_without_a_loss_scale_is_not_given_one():
    def road(model, loss):
        gradient = nn.by_hand(model, loss)
        return lambda params, frozen, state, batch, *, key=None: gradient(params, frozen, state, batch, key=key)

    assert jnp.isfinite(taken([micro_batched(road, 4)], batches()["weighted"])[0][0])


class Counting(Layer):
    """What each call draws, and how many there were; and it adds to the loss the mean of its input's squares."""

    def init(self, key, x):
        return {}, {"calls": jnp.zeros((), jnp.int32), "drawn": jnp.zeros(4), "auxiliary_loss": jnp.zeros(())}

    def apply(self, params, state, x, *, key=None, train=False):
        if key is None:
            return x, state
        calls = state["calls"]
        drawn = state["drawn"].at[calls].set(jax.random.uniform(key))
        return x, {"calls": calls + 1, "drawn": drawn, "auxiliary_loss": jnp.square(x).mean()}


def test_each_part_has_its_own_key_and_the_state_goes_through_all():
    batch, key = batches()["unweighted"], jax.random.key(7)
    model = nn.serial(nn.Dense(3), Counting())
    ((_, (state, _), _),) = taken([micro_batched(nn.by_autodiff, 4)], batch, model=model, key=key)
    keys = [jax.random.fold_in(jax.random.fold_in(key, k), 1) for k in range(3)]
    assert int(state["counting_0"]["calls"]) == 3
    np.testing.assert_array_equal(state["counting_0"]["drawn"][:3], [jax.random.uniform(k) for k in keys])


def test_what_layers_add_to_the_loss_is_weighed_as_the_parts_are(x64):
    """So it counts once, and means over equal parts are that of the whole."""
    model, batch = nn.serial(nn.Dense(3), Counting()), batches()["unweighted"]
    whole, parts = taken(parts_of(5)[:2], batch, model=model, key=jax.random.key(7))
    assert_close([(parts[0], parts[2])], (whole[0], whole[2]))
    ((bare, _, _),) = taken([nn.by_autodiff], batch, model=nn.serial(nn.Dense(3)))
    assert parts[0] > bare + 0.01


def test_batch_norm_takes_its_means_over_a_part(x64):
    """So the gradient is another one, and running means move once a part."""
    model = nn.serial(nn.Dense(4), nn.BatchNorm(decay=0.9), nn.Dense(3))
    batch = batches()["unweighted"]
    whole, _, parts = taken(parts_of(5), batch, model=model)
    assert abs(parts[0] - whole[0]) > 1e-4
    params, _ = begun(model, batch.x)
    h = batch.x @ np.asarray(params["dense_0"]["w"]) + np.asarray(params["dense_0"]["b"])[None]
    first, second = h[:5].mean(0), h[5:].mean(0)
    np.testing.assert_allclose(parts[1][0]["batch_norm_0"]["mean"], 0.9 * 0.1 * first + 0.1 * second, rtol=1e-10)
    np.testing.assert_allclose(whole[1][0]["batch_norm_0"]["mean"], 0.1 * h.mean(0), rtol=1e-10)


def test_trees_go_in_and_come_out(x64):
    """Sequences, and a pair of outputs."""
    model = nn.serial(nn.GRU(4), nn.last, nn.parallel(nn.Dense(2), nn.Dense(1)))
    x = nn.Sequences(random.normal(size=(N, TIME, 3)), random.integers(1, TIME, N).astype(np.int32))
    batch = nn.Data(x, random.normal(size=N))
    loss = lambda prediction, y: jnp.square(prediction[0].sum(1) + prediction[1][:, 0] - y)
    whole, parts = taken([nn.by_hand, micro_batched(nn.by_hand, 4)], batch, model=model, loss=loss)
    assert_close([parts], whole, rtol=1e-11, atol=1e-12)


def test_narrow_gradients_are_gathered_in_float32():
    """600 gradients of 1, whose sum in bfloat16 would stop at 256."""
    ones = nn.Data(np.ones((600, 1), jnp.bfloat16), np.zeros((600, 1), jnp.bfloat16))
    linear = lambda prediction, target: prediction + target
    for _, _, grads in taken(parts_of(1)[1:], ones, model=nn.Dense(1), loss=linear):
        assert grads["w"].dtype == jnp.bfloat16
        assert (float(grads["w"][0, 0]), float(grads["b"][0])) == (1, 1)


# Memory.


def wide_step(n=256):
    model = nn.serial(*[nn.Dense(64), nn.tanh] * 3, nn.Dense(1))
    x = jax.ShapeDtypeStruct((n, 16), jnp.float32)
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1))
    ts = jax.eval_shape(trainer.init, jax.random.key(0), x)
    return trainer, ts, nn.Data(x, jax.ShapeDtypeStruct((n, 1), jnp.float32))


def temporary(road, trainer, ts, batch):
    step = lambda ts, batch: road(trainer.model, trainer.loss)(ts.params, ts.frozen, ts.state, batch)
    return jax.jit(step).lower(ts, batch).compile().memory_analysis().temp_size_in_bytes


@roads
def test_memory_of_a_compiled_step_falls(road):
    whole, parts = (temporary(each, *wide_step()) for each in (road, micro_batched(road, 16)))
    assert parts < 0.3 * whole


def test_the_largest_that_fits_is_found():
    trainer, ts, batch = wide_step(64)
    needed = {size: temporary_of_a_step(trainer, size, ts, batch) for size in (64, 32, 16)}
    assert needed[64] > needed[32] > needed[16]
    assert largest_micro_batch(trainer, ts, batch, bytes=needed[64]) == 64
    assert largest_micro_batch(trainer, ts, batch, bytes=needed[64] - 1) == 32
    again = nn.trainer(trainer.model, trainer.loss, trainer.optimizer, gradient=micro_batched(nn.by_autodiff, 2))
    assert largest_micro_batch(again, ts, batch, bytes=needed[64]) == 64


def test_where_not_even_one_example_fits_it_says_what_that_needs():
    trainer, ts, batch = wide_step(1)
    needed = temporary_of_a_step(trainer, 1, ts, batch)
    said = (
        rf"expected at least {needed} bytes, because a step with one example at a time needs as many; got 100\n  hint"
    )
    with pytest.raises(ValueError, match=said):
        largest_micro_batch(trainer, ts, batch, bytes=100)


def temporary_of_a_step(trainer, size, ts, batch):
    trainer = nn.trainer(trainer.model, trainer.loss, trainer.optimizer, gradient=micro_batched(trainer.gradient, size))
    return jax.jit(trainer.step).lower(ts, batch).compile().memory_analysis().temp_size_in_bytes


# What cannot be meant.


def test_a_road_in_parts_is_a_value():
    assert micro_batched(nn.by_hand, np.int64(4)) == MicroBatched(nn.by_hand, 4)
    assert hash(micro_batched(nn.by_hand, 4)) == hash(MicroBatched(nn.by_hand, 4))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None], ids=repr)
def test_a_size_is_a_count(size, unannotated):
    with pytest.raises(ValueError, match=rf"expected size as an integer of 1 or more, because .*; got {size}\n  hint"):
        micro_batched(nn.by_hand, size)


def test_the_road_comes_first(unannotated):
    with pytest.raises(
        TypeError, match="expected a road such as by_hand first, because it takes each part; got 4\n  h"
    ):
        micro_batched(4, nn.by_hand)


def test_parts_are_even_so_that_what_layers_add_is_that_of_the_whole():
    model = nn.serial(nn.Dense(3), nn.ActivityPenalty(l2=1.0), nn.Dense(1))
    batch = nn.Data(jnp.asarray(random.normal(size=(8, 2)), jnp.float32), jnp.zeros((8, 1)))

    @jax.jit
    def values():
        params, state = model.init(jax.random.key(0), batch.x)
        roads = nn.by_hand, micro_batched(nn.by_hand, 7), micro_batched(nn.by_hand, 5), micro_batched(nn.by_hand, 2)
        return [road(model, nn.losses.mse)(params, {}, state, batch)[0] for road in roads]

    np.testing.assert_allclose(values()[1:], values()[0], rtol=1e-5)


def test_the_largest_is_the_same_whatever_parts_a_road_has_within_its_penalty():
    penalty, size = nn.losses.Penalty(l2=0.1), []
    for road in (nn.by_hand, micro_batched(nn.by_hand, 8)):
        trainer = nn.trainer(nn.serial(nn.Dense(256), nn.relu, nn.Dense(1)), nn.losses.mse, nn.sgd(0.1),
                             gradient=nn.with_penalty(road, penalty))  # fmt: skip
        batch = nn.Data(jnp.zeros((256, 8)), jnp.zeros((256, 1)))
        ts = jax.eval_shape(lambda trainer=trainer, x=batch.x: trainer.init(jax.random.key(0), x))
        size.append(nn.largest_micro_batch(trainer, ts, batch, bytes=2**18))
    assert size[0] == size[1] < 256
