"""The numbers of the catalogue of initialisers, each under its item's name, and the errors that must not be made."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.initializers import (
    constant,
    gain,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    normal,
    orthogonal,
    sparse,
    uniform,
    variance_scaling,
)

SHAPE = (300, 100)  # of so many inputs and outputs are the numbers of INIT-5 to INIT-9


def drawn(initializer, shape=SHAPE):
    return np.asarray(initializer(jax.random.key(0), shape, jnp.float32), np.float64)


def assert_deviation(w, stddev):
    """The mean is 0 and the deviation this one, to four times what chance leaves of a normal distribution."""
    assert abs(w.mean()) < 4 * stddev / math.sqrt(w.size)
    assert abs(w.std() - stddev) < 4 * stddev / math.sqrt(2 * w.size)


def assert_limit(w, limit):
    assert 0.999 * limit < np.abs(w).max() <= limit * (1 + 1e-6)


def test_INIT_3_uniform():
    w = drawn(uniform(0.3))
    assert_limit(w, 0.3)
    assert w.var() == pytest.approx(0.3**2 / 3, rel=0.02)
    assert_deviation(w, math.sqrt(0.3**2 / 3))


def test_INIT_4_normal():
    assert_deviation(drawn(normal(0.05)), 0.05)


def test_INIT_5_glorot_uniform():
    assert_limit(drawn(glorot_uniform()), 0.1224744871)


def test_INIT_6_glorot_normal():
    assert_deviation(drawn(glorot_normal()), 0.0707106781)


def test_INIT_7_he_normal():
    assert_deviation(drawn(he_normal()), 0.0816496581)


def test_INIT_8_he_uniform():
    assert_limit(drawn(he_uniform()), 0.1414213562)


def test_INIT_9_lecun_normal():
    assert_deviation(drawn(lecun_normal()), 0.0577350269)


def test_INIT_10_orthogonal_of_both_shapes():
    tall, wide, square = (drawn(orthogonal(), shape) for shape in ((9, 4), (4, 9), (6, 6)))
    np.testing.assert_allclose(tall.T @ tall, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(wide @ wide.T, np.eye(4), atol=1e-6)
    x = np.random.default_rng(0).normal(size=6)
    assert np.linalg.norm(x @ square) == pytest.approx(np.linalg.norm(x), rel=1e-6)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.9])
def test_INIT_11_sparse(fraction):
    np.testing.assert_array_equal((drawn(sparse(sparsity=fraction)) == 0).sum(0), round(fraction * 300))


def test_INIT_12_variance_scaling_has_the_others_as_members():
    for scale, mode, member, n in ((1.0, "fan_in", lecun_normal, 300), (2.0, "fan_in", he_normal, 300),
                                   (1.0, "fan_avg", glorot_normal, 200), (3.0, "fan_out", None, 100)):  # fmt: skip
        w = drawn(variance_scaling(scale, mode, "normal"))
        assert_deviation(w, math.sqrt(scale / n))
        if member is not None:
            np.testing.assert_array_equal(w, drawn(member()))


def test_INIT_17_fans_of_a_convolution():
    height, width, cin, cout = 3, 5, 20, 40
    assert nn.initializers.fans((height, width, cin, cout)) == (height * width * cin, height * width * cout)
    assert_deviation(drawn(he_normal(), (height, width, cin, cout)), math.sqrt(2 / (3 * 5 * 20)))


def test_E_46_the_second_number_of_N_is_a_variance_and_its_root_is_what_multiplies():
    """N(0, 2 / 300) has deviation 0.0816 and not 0.0067; and `stddev` is what it says."""
    assert drawn(he_normal()).var() == pytest.approx(2 / 300, rel=0.03)
    assert drawn(variance_scaling(0.01 * 300, "fan_in", "normal")).std() == pytest.approx(0.1, rel=0.02)
    assert drawn(normal(0.01)).std() == pytest.approx(0.01, rel=0.02)


def test_E_76_relu_halves_the_second_moment_and_he_doubles_it_back_but_no_unit_is_kept_alive():
    z = jax.random.normal(jax.random.key(0), (1000, 100))
    y = nn.relu(jnp.concatenate([z, -z]))  # as many below 0 as above, exactly
    np.testing.assert_allclose((y**2).mean(), (z**2).mean() / 2, rtol=1e-5)
    assert gain(nn.relu) ** 2 == pytest.approx(2)
    model = nn.serial(nn.Dense(32, w_init=he_normal(), b_init=constant(-100.0)), nn.relu)
    params, state = model.init(jax.random.key(1), z)
    assert (model.apply(params, state, z)[0] == 0).all()


def test_E_77_xavier_looks_at_both_sides_of_a_layer():
    for n_out in (100, 500):
        assert drawn(glorot_normal(), (300, n_out)).var() == pytest.approx(2 / (300 + n_out), rel=0.03)
        assert drawn(he_normal(), (300, n_out)).var() == pytest.approx(2 / 300, rel=0.03)


X, Y = jax.random.normal(jax.random.key(1), (16, 4)), jax.random.normal(jax.random.key(2), (16, 1))


def trained(activation=nn.tanh, *, w_init=None, gradient=nn.by_autodiff, middle=(), data=None):
    """The parameters of a hidden layer of 8 units and of the layer after it, after twelve steps; 0.1 at first."""
    dense = functools.partial(nn.Dense, w_init=constant(0.1) if w_init is None else w_init)
    model = nn.serial(hidden=dense(8), activation=activation, **dict(middle), head=dense(1))
    trainer = nn.trainer(model, nn.losses.mse, nn.sgd(0.1), gradient=gradient)
    data = nn.Data(X, Y) if data is None else data
    ts, _ = nn.fit(trainer, trainer.init(jax.random.key(0), data.x), data, epochs=6, batch_size=len(data.x) // 2)
    return ts.params["hidden"], ts.params["head"]


def assert_alike(params, *, alike=True):
    """Whether all hidden units have the same weights in, the same bias, and the same weight out, and have learned."""
    hidden, head = params
    assert np.abs(hidden["w"] - 0.1).max() > 1e-3, "nothing was learned"
    units = np.concatenate([hidden["w"], hidden["b"][None], head["w"].T]).T
    apart = np.abs(units - units[0]).max()
    assert apart < 1e-5 if alike else apart > 1e-3


def test_DIAG_5_units_that_start_alike_stay_alike_and_random_ones_do_not():
    assert_alike(trained())
    assert_alike(trained(w_init=normal(0.1)), alike=False)


def test_E_72_an_asymmetric_activation_does_not_break_symmetry():
    assert_alike(trained(nn.ops.softplus))
    assert_alike(trained(nn.ops.leaky_relu))


def test_E_72_l1_does_not_break_symmetry():
    penalty = nn.losses.Penalty(l1=0.01)
    assert_alike(trained(gradient=nn.with_penalty(nn.by_autodiff, penalty)))


def test_E_72_augmented_data_do_not_break_symmetry():
    noise = jax.random.normal(jax.random.key(3), (4, *X.shape)) / 2
    assert_alike(trained(data=nn.Data(jnp.concatenate([*(X[None] + noise), -X]), jnp.concatenate([Y] * 4 + [-Y]))))


def test_E_72_masks_of_each_unit_break_it():
    assert_alike(trained(middle={"dropout": nn.Dropout(0.5)}), alike=False)


def test_E_87_weights_are_drawn_and_biases_begin_at_0_which_is_harmless():
    x = jnp.zeros((1, 8, 8, 3))
    for layer in (nn.Dense(5), nn.Conv(5, 3), nn.DepthwiseConv(3), nn.ConvTranspose(5, 3)):
        params, _ = layer.init(jax.random.key(0), x)
        assert (params["b"] == 0).all()
        assert (params["w"] != 0).all()
    hidden, _ = trained(w_init=normal(0.3))
    assert len(np.unique(hidden["b"].round(5))) == 8, "units with one bias learned the same"


def test_INIT_13_and_E_51_an_initialiser_is_a_pure_function_of_its_key_and_training_changes_nothing_about_it():
    """A distribution that changes while a network is trained is none to begin with; noise on weights is no initialiser.

    What is drawn before a run, within a compiled one and after it is the same, and a trainer begins alike again.
    """
    key, init = jax.random.key(7), he_normal()
    model = nn.serial(nn.Dense(8, w_init=init), nn.tanh, nn.Dense(1, w_init=init))
    trainer, data = nn.trainer(model, nn.losses.mse, nn.adam(0.1)), nn.Data(X, Y)
    before, begun = init(key, (4, 8), jnp.float32), trainer.init(key, X)

    @jax.jit
    def run(ts):
        ts, _ = nn.fit(trainer, ts, data, epochs=3, batch_size=8)
        return ts.params, init(key, (4, 8), jnp.float32)

    params, within = run(begun)
    assert np.abs(params["dense_0"]["w"] - begun.params["dense_0"]["w"]).max() > 0.05, "nothing was learned"
    np.testing.assert_allclose(within, before, rtol=1e-6)
    np.testing.assert_array_equal(init(key, (4, 8), jnp.float32), before)
    jax.tree.map(np.testing.assert_array_equal, trainer.init(key, X).params, begun.params)
