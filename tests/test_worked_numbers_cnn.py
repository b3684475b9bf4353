"""Numbers of convolutional networks worked by hand, named after the items of the scope that they belong to."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn


def image(*shape):
    return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def sizes(model, x):
    """The length of the first spatial axis of x, and behind each layer."""
    return [x.shape[1], *(row.output.shape[1] for row in nn.summary(model, x).rows)]


def parameters(model, *shape):
    return nn.summary(model, image(*shape)).parameters


@pytest.mark.parametrize("n", [5, 6, 16, 21])
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("p", [0, 1])
def test_cnn_1_output_size(n, k, s, p):
    expected = (n + 2 * p - k) // s + 1
    assert sizes(nn.Conv(1, k, stride=s, padding=p), image(n, n, 1)) == [n, expected]
    if p < k:
        assert sizes(nn.MaxPool(k, stride=s, padding=p), image(n, n, 1)) == [n, expected]


@pytest.mark.parametrize("side", [3, 28, 224])
def test_cnn_2_parameters_do_not_depend_on_the_size_of_the_image(side):
    assert parameters(nn.Conv(20, (3, 3)), side, side, 3) == 20 * (3 * 3 * 3 + 1) == 560


def test_cnn_3_one_1x1_filter():
    assert parameters(nn.Conv(1, 1), 64, 64, 16) == 1 * 1 * 16 + 1 == 17
    assert 64 * 64 + 1 == 4097  # the distractor, which counts positions


@pytest.mark.parametrize(("features", "expected"), [(32, 2080), (128, 8320)])
def test_cnn_4_a_1x1_convolution_is_a_map_of_channels(features, expected, key):
    conv, x = nn.Conv(features, 1), jax.random.normal(key, (2, 4, 4, 64))
    params, state = conv.init(key, x)
    assert nn.tree.count(params) == features * (64 + 1) == expected
    y, _ = conv.apply(params, state, x)
    assert y.shape == (2, 4, 4, features)
    np.testing.assert_allclose(y, jnp.einsum("bhwi,io->bhwo", x, params["w"][0, 0]), rtol=1e-5, atol=1e-5)


def test_cnn_5_the_depth_of_a_filter_is_that_of_its_input(key):
    conv = nn.Conv(64, 1)
    params, state = conv.init(key, image(7, 7, 64))
    assert nn.tree.count(params) == 64 * 65 == 4160
    assert conv.apply(params, state, jnp.zeros((1, 7, 7, 64)))[0].shape == (1, 7, 7, 64)
    assert sizes(nn.Conv(1, 1), image(7, 7, 64)) == [7, 7]
    with pytest.raises(nn.ShapeError) as caught:
        conv.apply(params, state, jnp.zeros((1, 7, 7, 32)))
    expected = (
        "expected x of 64 features, (batch, ..., 64), because w is (1, 1, 64, 64): 64 features in; got (1, 7, 7, 32)"
    )
    assert str(caught.value) == expected


@pytest.mark.parametrize("pool", [nn.MaxPool(2), nn.AveragePool(2)], ids=str)
def test_cnn_6_and_7_pooling_shrinks_the_image_and_a_1x1_convolution_its_channels(pool):
    (pooled,), (mapped,) = (nn.summary(layer, image(8, 8, 32)).rows for layer in (pool, nn.Conv(16, 1)))
    assert (pooled.output.shape, pooled.parameters) == ((1, 4, 4, 32), 0)
    assert mapped.output.shape == (1, 8, 8, 16)


def test_cnn_8_a_16x16_image_can_be_halved_four_times_and_not_five(key):
    halved = lambda times: nn.serial(*[nn.MaxPool((2, 2))] * times)
    assert sizes(halved(4), image(16, 16, 1)) == [16, 8, 4, 2, 1]
    for make in (lambda: nn.summary(halved(5), image(16, 16, 1)), lambda: halved(5).init(key, image(16, 16, 1))):
        with pytest.raises(nn.ShapeError) as caught:
            make()
        assert str(caught.value) == (
            "expected an input of at least (2, 2) in its 2 spatial axes, because a window spans (2, 2); got (1, 1)"
        )
        assert [note for note in caught.value.__notes__ if note.startswith("  in ")] == [
            "  in max_pool_4: MaxPool((2, 2)), input float32[1,1,1,1]"
        ]


# CNN-9: 1 <- 2 <- 5 <- 10 <- 21.
BLOCK = (nn.Conv(2, (3, 3), stride=2, padding="VALID"), nn.AveragePool((2, 2)))
STACK = nn.serial(*BLOCK * 2)


def test_cnn_9_receptive_field_of_441_pixels():
    summary = nn.summary(STACK, image(21, 21, 3))
    assert sizes(STACK, image(21, 21, 3)) == [21, 10, 5, 2, 1]
    assert [row.field.size[0] for row in summary.rows] == [3, 5, 13, 21]
    assert [row.field.jump[0] for row in summary.rows] == [2, 4, 8, 16]
    field = nn.receptive_field(STACK, image(21, 21, 3))
    assert field == summary.rows[-1].field
    assert (field.size, field.jump, field.start, field.support) == ((21, 21), (16, 16), (0, 0), 441)
    assert "21x21=441    16  hand" in str(summary)
    # With more around it than it sees, it is no larger.
    assert nn.receptive_field(STACK, image(64, 64, 3)).support == 21 * 21
    r = 1
    for k, s in [(2, 2), (3, 2), (2, 2), (3, 2)]:
        r = (r - 1) * s + k
    assert r == 21


def gradient_mask(model, params, state, x, at):
    """Where the derivative of the output at one position, summed over its channels, is not zero."""
    one = lambda x: model.apply(params, state, x)[0][0, *at].sum()
    return np.asarray(jax.grad(one)(x) != 0).any(axis=(0, 3))


def test_cnn_9_gradients_reach_just_441_pixels(key):
    x = jax.random.uniform(key, (1, 64, 64, 3))
    params, state = STACK.init(key, x)
    params = jax.tree.map(jnp.abs, params)  # so that nothing cancels
    for at in [(0, 0), (1, 2)]:
        mask = gradient_mask(STACK, params, state, x, at)
        assert mask.sum() == 441
        top, left = 16 * at[0], 16 * at[1]
        assert mask[top : top + 21, left : left + 21].all()


def test_cnn_9_through_max_pooling_gradients_reach_at_most_those_441_pixels(key):
    x = jax.random.normal(key, (1, 64, 64, 3))
    model = nn.serial(*(BLOCK[0], nn.relu, nn.MaxPool((2, 2))) * 2)
    assert nn.receptive_field(model, x).support == 441
    params, state = model.init(key, x)
    mask = gradient_mask(model, params, state, x, (1, 2))
    assert 0 < mask.sum() == mask[16 : 16 + 21, 32 : 32 + 21].sum() <= 441


def test_cnn_10_output_of_a_detector():
    cells, boxes, classes = 7, 2, 20
    head = nn.serial(nn.Conv(1024, 3), nn.relu, nn.Conv(boxes * 5 + classes, 1))
    output = nn.summary(head, image(cells, cells, 512)).rows[-1].output
    assert output.shape == (1, 7, 7, 30)
    assert math.prod(output.shape) == cells * cells * (boxes * 5 + classes) == 1470


def test_cnn_11_concatenation_needs_all_axes_but_the_last_alike(key):
    split = lambda stride: nn.serial(nn.parallel(nn.Conv(32, 1), nn.Conv(16, 1, stride=stride)), nn.concatenate)
    assert nn.summary(split(1), image(8, 8, 4)).rows[-1].output.shape == (1, 8, 8, 48)
    with pytest.raises(nn.ShapeError) as caught:
        split(2).init(key, image(8, 8, 4))
    assert str(caught.value) == (
        "expected arrays that agree in every axis but the last, because they are joined along the last; "
        "got (1, 8, 8, 32), (1, 4, 4, 16)"
    )
    assert any(note.startswith("  in concatenate_0: concatenate") for note in caught.value.__notes__)
    aligned = nn.serial(nn.parallel(nn.serial(nn.Conv(32, 1), nn.MaxPool(2)), nn.Conv(16, 1, stride=2)), nn.concatenate)
    assert nn.summary(aligned, image(8, 8, 4)).rows[-1].output.shape == (1, 4, 4, 48)


def test_cnn_12_a_circular_convolution_commutes_with_a_shift(key):
    around = lambda x: jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="wrap")
    circular = nn.serial(around, nn.Conv(4, 3, padding="VALID"))
    x = jax.random.normal(key, (2, 6, 7, 3))
    params, state = circular.init(key, x)
    conv = lambda x: circular.apply(params, state, x)[0]
    shift = lambda x: jnp.roll(x, (2, -3), axis=(1, 2))
    np.testing.assert_allclose(conv(shift(x)), shift(conv(x)), rtol=1e-5, atol=1e-5)
    assert not np.allclose(conv(shift(x)), conv(x), atol=0.1)
    # With zeros around the image it does not, at the border.
    zeros = nn.Conv(4, 3)
    same = lambda x: zeros.apply(params["conv_0"], {}, x)[0]
    assert not np.allclose(same(shift(x)), shift(same(x)), atol=0.1)


def test_cnn_13_more_of_the_gradient_reaches_the_first_layer_past_residual_blocks(key):
    depth, block = 12, nn.serial(nn.Conv(4, 3), nn.tanh)
    x = jax.random.normal(key, (2, 6, 6, 4))

    def norms(model):
        """The largest derivative of the output's mean size, for the weights of each layer."""
        params, state = model.init(key, x)
        params = jax.tree.map(lambda w: 0.5 * w, params)
        grads = jax.grad(lambda p: (model.apply(p, state, x)[0] ** 2).mean() ** 0.5)(params)
        return [float(abs(layer["conv_0"]["w"]).max()) for layer in grads.values()]

    plain, residual = norms(nn.serial(*[block] * depth)), norms(nn.serial(*[nn.residual(block)] * depth))
    assert len(plain) == len(residual) == depth
    assert plain[0] < 1e-3
    assert min(residual) > 100 * max(plain)


def test_cnn_14_parameters_beside_those_of_a_dense_layer():
    dense = parameters(nn.serial(nn.flatten, nn.Dense(28 * 28 * 20)), 28, 28, 3)
    assert dense == (28 * 28 * 3 + 1) * 28 * 28 * 20 == 36_895_040
    assert parameters(nn.Conv(20, (3, 3)), 28, 28, 3) == 560
    # And as many products as weights in the one, each weight 784 times in the other.
    assert (
        nn.summary(nn.serial(nn.flatten, nn.Dense(15_680, bias=False)), image(28, 28, 3)).multiply_adds == 2352 * 15_680
    )
    assert nn.summary(nn.Conv(20, (3, 3)), image(28, 28, 3)).multiply_adds == 28 * 28 * 540
