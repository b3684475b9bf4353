"""Identity, orthogonal and sparse weights: that they have the structure that they are named after."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.initializers import delta_orthogonal, identity, orthogonal, sparse

SHAPES = {
    "tall": (12, 5),
    "wide": (5, 12),
    "square": (7, 7),
    "convolution": (3, 3, 4, 8),
    "wide_convolution": (2, 3, 9),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_INIT_10_and_E_49_the_shorter_side_is_orthonormal(shape, key, x64):
    w = np.asarray(orthogonal(1.5)(key, shape, jnp.float64)).reshape(-1, shape[-1])
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(w.shape)), atol=1e-13)


def test_INIT_10_a_square_one_keeps_lengths_and_a_wide_one_too(key, x64):
    x = jax.random.normal(jax.random.key(1), (20, 7))
    for shape in [(7, 7), (7, 30)]:
        y = x @ orthogonal()(key, shape, jnp.float64)
        np.testing.assert_allclose(jnp.linalg.norm(y, axis=1), jnp.linalg.norm(x, axis=1), rtol=1e-13)


@pytest.mark.parametrize("column_axis", [-1, 0, 1])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_orthogonal_draws_the_numbers_of_jax(shape, column_axis, key, x64):
    ours = orthogonal(0.7, column_axis)(key, shape, jnp.float64)
    theirs = jax.nn.initializers.orthogonal(0.7, column_axis)(key, shape, jnp.float64)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_orthogonal_matrices_are_equally_likely(x64):
    """Of such matrices the trace has mean 0 and variance 1; of a QR whose signs are not fixed it has another mean."""
    draws = jax.vmap(lambda key: orthogonal()(key, (4, 4), jnp.float64))(jax.random.split(jax.random.key(0), 4000))
    traces = np.trace(np.asarray(draws), axis1=1, axis2=2)
    assert abs(traces.mean()) < 4 / np.sqrt(4000)
    assert traces.var() == pytest.approx(1, abs=0.1)
    assert (np.linalg.det(draws) > 0).mean() == pytest.approx(0.5, abs=0.04)


def test_orthogonal_in_bfloat16_is_so_to_its_rounding(key):
    w = orthogonal()(key, (16, 16), jnp.bfloat16)
    assert w.dtype == jnp.bfloat16
    w = np.asarray(w, np.float64)
    np.testing.assert_allclose(w.T @ w, np.eye(16), atol=0.02)


@pytest.mark.parametrize("initializer", [orthogonal(), identity(), sparse(nonzeros=2), sparse(sparsity=0.5)])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (0, 3, 3)])
def test_an_empty_weight_is_drawn_without_complaint(initializer, shape, key):
    assert initializer(key, shape, jnp.float32).shape == shape


@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 3, 5, 5), (3, 3, 3, 2, 4)])
def test_delta_orthogonal_draws_the_numbers_of_jax(shape, key, x64):
    ours = delta_orthogonal(1.3)(key, shape, jnp.float64)
    theirs = jax.nn.initializers.delta_orthogonal(1.3)(key, shape, jnp.float64)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("window", [(3,), (4,), (3, 2), (3, 1, 3)])
def test_delta_orthogonal_keeps_lengths_at_every_position(window, key, x64):
    x = jax.random.normal(jax.random.key(1), (2, *[5] * len(window), 3))
    layer = nn.Conv(6, window, bias=False, w_init=delta_orthogonal())
    y, _ = layer.apply(*layer.init(key, x), x)
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-13)


def test_delta_orthogonal_refuses_what_cannot_keep_lengths(key):
    with pytest.raises(nn.ShapeError, match=r"at least as many outputs as inputs, .*; got \(3, 5, 4\)") as caught:
        delta_orthogonal()(key, (3, 5, 4), jnp.float32)
    assert caught.value.__notes__ == ["  hint: orthogonal() draws any shape"]
    with pytest.raises(nn.ShapeError, match=r"^expected a shape of three to five axes, .*; got \(5, 5\)$"):
        delta_orthogonal()(key, (5, 5), jnp.float32)


@pytest.mark.parametrize("window", [(1,), (3,), (4,), (2, 5), (3, 2, 1)])
@pytest.mark.parametrize("groups", [1, 2])
def test_identity_lets_a_convolution_pass_x_through(window, groups, key):
    x = jax.random.normal(jax.random.key(1), (2, *[4] * len(window), 6))
    layer = nn.Conv(6, window, groups=groups, bias=False, w_init=identity())
    np.testing.assert_array_equal(layer.apply(*layer.init(key, x), x)[0], x)


def test_identity_lets_dense_depthwise_and_transposed_layers_pass_x_through(key):
    x = jax.random.normal(jax.random.key(1), (2, 4, 6))
    for layer in (
        nn.Dense(6, w_init=identity()),
        nn.DepthwiseConv(3, w_init=identity()),
        nn.ConvTranspose(6, 3, w_init=identity()),
    ):
        np.testing.assert_array_equal(layer.apply(*layer.init(key, x), x)[0], x)


def test_identity_of_fewer_and_of_more_outputs(key):
    np.testing.assert_array_equal(identity(3.0)(key, (2, 3), jnp.float32), 3 * np.eye(2, 3))
    np.testing.assert_array_equal(identity()(key, (3, 2), jnp.float32), np.eye(3, 2))


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(3, 4, 6), (5, 3, 6, 4), (3, 3, 1, 2, 2)])
def test_identity_is_the_dirac_of_torch_for_odd_windows(shape, key):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.dirac_(torch.empty(shape[-1], shape[-2], *shape[:-2])).numpy()
    np.testing.assert_array_equal(identity()(key, shape, jnp.float32), np.moveaxis(theirs, (0, 1), (-1, -2)))


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("shape", [(300, 20), (3, 5, 20)])
def test_INIT_11_every_unit_has_exactly_the_stated_number_of_zeros(sparsity, shape, key):
    w = np.asarray(sparse(sparsity=sparsity)(key, shape, jnp.float32)).reshape(-1, shape[-1])
    np.testing.assert_array_equal((w == 0).sum(axis=0), round(sparsity * len(w)))


def test_INIT_11_every_unit_has_exactly_k_nonzeros_at_places_of_its_own(key):
    w = np.asarray(sparse(nonzeros=15, stddev=0.2)(key, (200, 400), jnp.float32))
    places = w != 0
    np.testing.assert_array_equal(places.sum(axis=0), 15)
    assert len(np.unique(places, axis=1).T) == 400, "units share their places"
    of_inputs = places.sum(axis=1)  # 400 * 15 / 200 = 30 each, if all inputs are equally likely
    assert abs(of_inputs - 30).max() < 6 * np.sqrt(30)
    assert w[places].std() == pytest.approx(0.2, rel=0.04)
    assert abs(w[places].mean()) < 0.01


def test_INIT_11_with_fewer_inputs_than_nonzeros_none_is_zero(key):
    assert (sparse(nonzeros=15)(key, (4, 3), jnp.float32) != 0).all()


def test_E_50_zeros_of_a_sparse_weight_are_stored_and_trained(key):
    x = jax.random.normal(jax.random.key(1), (8, 10))
    model = nn.Dense(4, w_init=sparse(nonzeros=2))
    params, state = model.init(key, x)
    assert params["w"].shape == (10, 4)
    (y, _), residuals = model.fwd(params, state, x)
    dw = model.bwd(residuals, y)[0]["w"]
    assert (dw[params["w"] == 0] != 0).all()


@pytest.mark.oracle
def test_sparse_is_torch_s_up_to_rounding_of_the_count(key):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.init.sparse_(torch.empty(40, 2000), sparsity=0.25, std=0.01).numpy()
    ours = np.asarray(sparse(sparsity=0.25, stddev=0.01)(key, (40, 2000), jnp.float32))
    np.testing.assert_array_equal((ours == 0).sum(axis=0), (theirs == 0).sum(axis=0))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
