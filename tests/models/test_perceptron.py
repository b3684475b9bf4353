"""Neurons and perceptrons: numbers worked by hand, the rule, its bound, and what no line separates."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.models import mistake_bound, mlp, perceptron, perceptron_trainer, separate

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
AND, OR, XOR = ([0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 0])
float64 = pytest.mark.usefixtures("x64")


def gate(outputs, order=range(4)):
    """A data set of the four points, in an order of its own."""
    order = list(order)
    return nn.Data(POINTS[order], np.array(outputs, np.float32)[order, None])


def unit(w, b):
    return {"dense_0": {"w": jnp.array([[w_i] for w_i in w]), "b": jnp.array([b])}}


def fires(w, b, x=POINTS):
    return perceptron().apply(unit(w, b), {}, jnp.asarray(x))[0][:, 0].tolist()


def learned(data, epochs, learning_rate=1.0):
    trainer = perceptron_trainer(learning_rate)
    return jax.jit(lambda data: separate(trainer, trainer.init(jax.random.key(0), data.x), data, epochs=epochs))(data)


def separable(seed, n=40, features=3, margin=0.05):
    """Points of two classes, and the parameters of a line that leaves a margin between them."""
    random = np.random.default_rng(seed)
    w, b = random.normal(size=features), 0.3 * random.normal()
    x = random.normal(size=(4 * n, features))
    s = (x @ w + b) / np.sqrt(w @ w + b * b)
    x, s = x[np.abs(s) > margin][:n], s[np.abs(s) > margin][:n]
    return nn.Data(x, (s > 0).astype(float)[:, None]), unit(w, b)


# -- the unit ----------------------------------------------------------------------------------------------------------


def test_NEU_1_and_2_a_unit_is_a_weighted_sum_and_then_an_activation():
    """Backpropagation needs both, and both are there: z as the sum's output, a as the activation's."""
    x, params = jnp.array([[3.0, 4.0]]), {"z": {"w": jnp.array([[2.0], [-1.0]]), "b": jnp.array([0.5])}}
    neuron = nn.serial(z=nn.Dense(1), a=nn.sigmoid)
    z, _ = neuron.children["z"].apply(params["z"], {}, x)
    assert z.item() == 2 * 3 - 1 * 4 + 0.5 == 2.5
    (a, _), _ = neuron.fwd(params, {}, x)
    np.testing.assert_allclose(a.item(), 1 / (1 + np.exp(-2.5)), rtol=1e-6)


def test_NEU_3_a_bias_is_the_weight_of_a_constant_input(key):
    x, params = jax.random.normal(key, (5, 3)), {"w": jnp.arange(6.0).reshape(3, 2), "b": jnp.array([0.5, -2.0])}
    with_one = jnp.concatenate([x, jnp.ones((5, 1))], axis=1)
    stacked = {"w": jnp.concatenate([params["w"], params["b"][None]])}
    y, _ = nn.Dense(2).apply(params, {}, x)
    np.testing.assert_allclose(nn.Dense(2, bias=False).apply(stacked, {}, with_one)[0], y, rtol=1e-6)


def test_NEU_4_weights_have_any_sign_or_are_zero_and_learning_adjusts_them():
    assert fires([-1.0, 0.0], 0.5) == [1, 1, 0, 0]
    trainer, x = perceptron_trainer(), jnp.array([[2.0, -3.0]])
    ts, _ = trainer.step(trainer.init(jax.random.key(0), x), nn.Data(x, jnp.array([[1.0]])))
    assert ts.params["dense_0"]["w"][:, 0].tolist() == [2, -3]


def test_NEU_5_a_perceptron_is_AND_and_another_is_OR():
    assert fires([1.0, 1.0], -1.5) == AND
    assert fires([1.0, 1.0], -0.5) == OR


def test_E_1_a_neuron_is_a_perceptron_only_with_a_step():
    """Of one weighted sum, any activation makes a neuron; the perceptron's alone has two values."""
    z = np.linspace(-2, 2, 9)[:, None].astype(np.float32)
    assert set(fires([1.0], 0.0, z)) == {0, 1}
    other = nn.serial(nn.Dense(1), nn.sigmoid)
    assert len(np.unique(other.apply(unit([1.0], 0.0), {}, jnp.asarray(z))[0])) == 9


def test_E_2_and_NEU_7_the_threshold_is_the_bias_and_at_zero_a_unit_does_not_fire():
    assert fires([1.0], 0.0, [[-1.0], [0.0], [1.0]]) == [0, 0, 1]
    assert fires([1.0], -2.0, [[1.9], [2.0], [2.1]]) == [0, 0, 1]  # fires above a threshold of 2
    assert nn.ops.step(jnp.array([1.9, 2.0, 2.1]), threshold=2.0).tolist() == [0, 0, 1]


def test_E_85_the_single_layer_is_the_one_that_learns():
    params, _ = perceptron(3).init(jax.random.key(0), jnp.zeros((1, 5)))
    assert {name: leaf.shape for name, leaf in nn.tree.named_leaves(params).items()} == {
        "dense_0/b": (3,),
        "dense_0/w": (5, 3),
    }


# -- the rule ----------------------------------------------------------------------------------------------------------


def by_the_rule(data, eta, epochs):
    """Rosenblatt's rule in a loop of its own."""
    w, b, mistakes = np.zeros(data.x.shape[1]), 0.0, []
    for _ in range(epochs):
        mistakes.append(0)
        for x, (y,) in zip(np.asarray(data.x), np.asarray(data.y), strict=True):
            error = y - (1 if x @ w + b > 0 else 0)
            w, b = w + eta * error * x, b + eta * error
            mistakes[-1] += int(error != 0)
    return w, b, mistakes


@float64
@pytest.mark.parametrize("eta", [1.0, 0.1])
@pytest.mark.parametrize("classes", ["separable", "not"])
def test_GAP_1_the_trainer_takes_the_steps_of_the_rule(eta, classes):
    data, _ = separable(3)
    if classes == "not":
        data = data._replace(y=np.random.default_rng(0).integers(0, 2, data.y.shape).astype(float))
    w, b, mistakes = by_the_rule(data, eta, epochs=5)
    ts, report = learned(data, 5, eta)
    np.testing.assert_allclose(ts.params["dense_0"]["w"][:, 0], w, rtol=1e-11)
    np.testing.assert_allclose(ts.params["dense_0"]["b"][0], b, rtol=1e-11)
    assert report.mistakes.tolist() == mistakes


@float64
def test_the_rule_is_the_same_on_both_roads_and_as_the_step_of_the_perceptron_loss():
    """The step hands the error through; the other way is a loss of the sum before it, with signs for answers."""
    data, line = separable(5, n=8)
    model, x, y = perceptron(), jnp.asarray(data.x), jnp.asarray(data.y)
    begin = jax.tree.map(lambda a: a + 0.1, {**line, "step_0": {}})  # where no sum is 0
    begin["dense_0"]["w"] = begin["dense_0"]["w"][::-1]
    assert 0 < (model.apply(begin, {}, x)[0] != y).sum() < 8
    roads = {
        road: road(model, nn.losses.half_squared_error)
        for road in (nn.by_autodiff, functools.partial(nn.by_hand, strict=True))
    }
    autodiff, hand = (road(begin, {}, {}, nn.Data(x, y))[2]["dense_0"] for road in roads.values())
    of_loss = nn.by_hand(nn.Dense(1), nn.losses.perceptron_loss)
    sums = of_loss(begin["dense_0"], {}, {}, nn.Data(x, 2 * y - 1))[2]
    for leaf in ("w", "b"):
        np.testing.assert_allclose(hand[leaf], autodiff[leaf], rtol=1e-13)
        np.testing.assert_allclose(hand[leaf], sums[leaf], rtol=1e-13)


@float64
@pytest.mark.parametrize("margin", [0.3, 0.05, 0.01])
def test_it_separates_what_is_separable_within_the_bound(margin):
    """Novikoff: at most (R / gamma)^2 mistakes, in any order and at any rate."""
    for seed in range(3):
        data, line = separable(seed, margin=margin)
        bound = float(mistake_bound(line, data))
        homogeneous = np.concatenate([data.x, np.ones((40, 1))], axis=1)
        v = np.concatenate([line["dense_0"]["w"][:, 0], line["dense_0"]["b"]])
        gamma = np.abs(homogeneous @ v).min() / np.linalg.norm(v)
        np.testing.assert_allclose(bound, (np.linalg.norm(homogeneous, axis=1).max() / gamma) ** 2, rtol=1e-12)
        # An epoch without a mistake comes before there are more epochs than mistakes.
        ts, report = learned(data, 200)
        assert report.separated
        assert 0 < int(report.mistakes.sum()) <= bound
        assert report.accuracy == 1
        assert fires(ts.params["dense_0"]["w"][:, 0], ts.params["dense_0"]["b"][0], data.x) == data.y[:, 0].tolist()
        assert learned(data, 200, 0.125)[1].mistakes.tolist() == report.mistakes.tolist()
        assert f"separated after {report.mistakes.sum()} mistakes in " in str(report)
        if seed == 0:
            shuffled = np.random.default_rng(1).permutation(40)
            assert learned(nn.Data(data.x[shuffled], data.y[shuffled]), 200)[1].mistakes.sum().item() <= bound


def test_a_bound_of_parameters_that_do_not_separate_is_infinite():
    assert mistake_bound(unit([1.0, 1.0], -1.5), gate(OR)) == np.inf
    assert mistake_bound(unit([1.0, 1.0], -1.5), gate(AND)) == pytest.approx(3 / 0.25 * (2 + 2.25))


# -- what no line separates --------------------------------------------------------------------------------------------


def dichotomies():
    """All ways in which a unit can answer the four points, found by trying many."""
    grid = itertools.product(np.linspace(-2, 2, 9), np.linspace(-2, 2, 9), np.linspace(-3, 3, 25))
    return {tuple((POINTS @ [w1, w2] + b > 0).astype(int)) for w1, w2, b in grid}


def test_NEU_6_no_unit_answers_more_than_three_of_the_four_of_XOR():
    ways = dichotomies()
    assert len(ways) == 14  # of 16: all but XOR and its opposite
    right = lambda outputs: max(np.mean(np.array(way) == outputs) for way in ways)
    assert (right(AND), right(OR), right(XOR)) == (1, 1, 0.75)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5], ids=str)
def test_NEU_6_a_perceptron_learns_AND_and_OR_and_reports_that_XOR_is_not_separable(order):
    for outputs in (AND, OR):
        ts, report = learned(gate(outputs, order), 20)
        assert report.separated
        assert report.period == 0
        assert fires(ts.params["dense_0"]["w"][:, 0], ts.params["dense_0"]["b"][0]) == outputs
    _, report = learned(gate(XOR, order), 20)
    assert not report.separated
    assert report.period > 0
    assert report.accuracy <= 0.75
    assert str(report).startswith("not separable: the weights repeat after ")


def test_NEU_6_the_best_that_a_perceptron_does_on_XOR_is_75_percent():
    assert str(learned(gate(XOR, (0, 3, 1, 2)), 20)[1]) == (
        "not separable: the weights repeat after 1 epoch; the best weights on the way answer 75.0%"
    )


def test_it_says_when_it_does_not_know():
    """Too few epochs are no proof of anything; not even one is."""
    data, _ = separable(1, margin=0.01)
    report = learned(jax.tree.map(np.float32, data), 2)[1]
    assert not report.separated
    assert report.period == 0
    assert str(report).startswith(f"not separated after {report.mistakes.sum()} mistakes in 2 epochs; the best ")
    assert str(learned(gate(XOR), 1)[1]).startswith("not separated after 2 mistakes in 1 epoch; ")


def test_a_period_is_of_weights_that_come_back():
    """By a loop of its own: the same weights that many epochs ago, and not sooner."""
    data = nn.Data(np.array([[1, 2], [-2, 1], [3, -1], [-1, -2], [2, 2]], np.float32),
                   np.array([[0], [1], [0], [1], [1]], np.float32))  # fmt: skip
    report = learned(data, 60)[1]
    seen = [by_the_rule(data, 1.0, epochs)[:2] for epochs in range(1, 61)]
    seen = [(*w.tolist(), b) for w, b in seen]
    assert int(report.period) == seen[::-1].index(seen[-1], 1) > 1
    assert f"after {report.period} epochs; " in str(report)


def test_perceptrons_of_a_vmap_are_perceptrons_each():
    data = [gate(outputs, (0, 3, 1, 2)) for outputs in (AND, OR, XOR)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *data)
    trainer = perceptron_trainer()
    run = lambda data: separate(trainer, trainer.init(jax.random.key(0), data.x), data, epochs=12)[1]
    together = jax.jit(jax.vmap(run))(stacked)
    alone = [learned(d, 12)[1] for d in data]
    assert together.separated.tolist() == [True, True, False]
    np.testing.assert_array_equal(together.mistakes, np.stack([report.mistakes for report in alone]))


def test_units_learn_by_themselves():
    """Two outputs are two perceptrons."""
    x, y = POINTS, np.array([AND, OR], np.float32).T
    trainer = perceptron_trainer(2.0)  # of the mean over two
    trainer = nn.trainer(perceptron(2), trainer.loss, trainer.optimizer)
    ts, report = separate(trainer, trainer.init(jax.random.key(0), x), nn.Data(x, y), epochs=12)
    assert report.separated
    each = [learned(gate(outputs), 12)[0].params["dense_0"] for outputs in (AND, OR)]
    np.testing.assert_array_equal(ts.params["dense_0"]["w"], np.concatenate([p["w"] for p in each], axis=1))


# -- layers ------------------------------------------------------------------------------------------------------------


def test_NEU_6_and_11_one_hidden_layer_is_enough_for_XOR():
    """With a non-linearity; a stack without one does no better than a line."""
    data = gate(XOR)

    def accuracy(activation):
        model = mlp((8, 1), activation=activation)
        trainer = nn.trainer(model, nn.losses.binary_cross_entropy, nn.adam(0.05), gradient=nn.by_hand)
        ts, _ = nn.fit(trainer, trainer.init(jax.random.key(0), data.x), data, epochs=300, batch_size=4)
        return float(np.mean((trainer.predict(ts, jnp.asarray(data.x)) > 0) == (data.y > 0)))

    assert accuracy(nn.tanh) == 1
    assert accuracy(nn.ops.identity) <= 0.75


def test_NEU_8_a_4_5_3_has_43_parameters():
    params, _ = mlp((5, 3)).init(jax.random.key(0), jnp.zeros((1, 4)))
    assert nn.tree.count(params) == 4 * 5 + 5 + 5 * 3 + 3 == 43


def test_NEU_9_the_output_of_one_layer_is_the_input_of_the_next(key):
    """Two of sigmoids: every output is within 0 and 1."""
    model, x = nn.serial(nn.Dense(5), nn.sigmoid, nn.Dense(3), nn.sigmoid), 10 * jax.random.normal(key, (7, 4))
    params, state = model.init(key, x)
    y, _ = model.apply(params, state, x)
    s = lambda z: 1 / (1 + np.exp(-z))
    first = s(np.asarray(x) @ params["dense_0"]["w"] + np.asarray(params["dense_0"]["b"])[None])
    second = s(first @ params["dense_1"]["w"] + np.asarray(params["dense_1"]["b"])[None])
    np.testing.assert_allclose(y, second, rtol=1e-5)
    assert ((y > 0) & (y < 1)).all()


@float64
def test_NEU_10_and_E_3_a_stack_of_linear_layers_is_one_linear_layer_and_no_perceptron(key):
    x, shapes = jax.random.normal(key, (6, 4)), [(4, 5), (5,), (5, 3), (3,)]
    w1, b1, w2, b2 = (jax.random.normal(jax.random.fold_in(key, i), shape) for i, shape in enumerate(shapes))
    stack = nn.serial(nn.Dense(5), nn.Dense(3))
    y, _ = stack.apply({"dense_0": {"w": w1, "b": b1}, "dense_1": {"w": w2, "b": b2}}, {}, x)
    one, _ = nn.Dense(3).apply({"w": w1 @ w2, "b": b1 @ w2 + b2}, {}, x)
    np.testing.assert_allclose(y, one, rtol=1e-12)
    assert len(np.unique(np.asarray(y))) == y.size  # a perceptron's outputs are 0 and 1
