"""Receptive fields against the recursion, published numbers, and what gradients show."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn._programs import _dependence, _rules


def image(height=64, width=None, channels=2):
    return jax.ShapeDtypeStruct((1, height, width or height, channels), jnp.float32)


def recursion(windows):
    """size <- size + d (k - 1) jump, jump <- jump s."""
    size, jump = 1, 1
    for k, s, d in windows:
        size, jump = size + d * (k - 1) * jump, jump * s
    return size, jump


def backwards(windows):
    """r_in = (r_out - 1) s + d (k - 1) + 1, from the output to the input."""
    size = 1
    for k, s, d in reversed(windows):
        size = (size - 1) * s + d * (k - 1) + 1
    return size


CHAINS = [
    [(3, 1, 1)],
    [(3, 1, 1)] * 5,
    [(5, 2, 1), (3, 1, 2), (2, 2, 1)],
    [(1, 1, 1), (7, 3, 1), (1, 2, 1), (4, 1, 3)],
    [(3, 2, 1), (2, 2, 1), (3, 2, 1), (2, 2, 1)],
]


@pytest.mark.parametrize("windows", CHAINS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_chain_follows_the_recursion_both_ways(windows, padding):
    convs = [nn.Conv(2, k, stride=s, dilation=d, padding=padding) for k, s, d in windows]
    field = nn.receptive_field(nn.serial(*convs), image(200))
    size, jump = recursion(windows)
    assert (field.size, field.jump) == ((size, size), (jump, jump))
    assert backwards(windows) == size
    pools = [nn.AveragePool(k, stride=s, padding=padding) for k, s, _ in windows]
    largest = [nn.MaxPool(k, stride=s, padding=padding) for k, s, _ in windows]
    size, jump = recursion([(k, s, 1) for k, s, _ in windows])
    for model in (nn.serial(*pools), nn.serial(*largest)):
        field = nn.receptive_field(model, image(200))
        assert (field.size, field.jump) == ((size, size), (jump, jump))


def test_axes_have_their_own():
    field = nn.receptive_field(nn.serial(nn.Conv(4, (3, 5), stride=(2, 1)), nn.MaxPool((1, 2))), image(20, 30))
    assert (field.size, field.jump, field.support) == ((3, 6), (2, 2), 18)
    volume = jax.ShapeDtypeStruct((1, 9, 9, 9, 1), jnp.float32)
    assert nn.receptive_field(nn.Conv(4, (1, 2, 3)), volume).support == 6
    assert nn.receptive_field(nn.Conv(4, 3, dilation=4), jax.ShapeDtypeStruct((1, 99, 1), jnp.float32)).size == (9,)


@pytest.mark.parametrize(
    ("padding", "start"),
    [("SAME", -1), ("VALID", 0), (2, -2), ("CAUSAL", -2)],
)
def test_padding_moves_the_start(padding, start):
    x = jax.ShapeDtypeStruct((1, 16, 2), jnp.float32)
    field = nn.receptive_field(nn.Conv(2, 3, padding=padding), x)
    assert (field.start, field.size) == ((start,), (3,))


def test_what_goes_position_by_position_changes_nothing():
    conv = nn.Conv(6, 3, stride=2)
    extras = [nn.BatchNorm(), nn.Dropout(0.5), nn.relu, nn.Conv(8, 1), nn.Dense(6), nn.softmax, jax.nn.gelu]
    model = nn.serial(conv, *extras, nn.residual(nn.Dense(6)), nn.DepthwiseConv(1))
    assert nn.receptive_field(model, image()) == nn.receptive_field(conv, image())


def test_depthwise_and_grouped_convolutions_see_as_others_do():
    fields = [
        nn.receptive_field(layer, image()) for layer in (nn.Conv(2, 5), nn.DepthwiseConv(5), nn.Conv(2, 5, groups=2))
    ]
    assert fields[0].size == (5, 5)
    assert fields[0] == fields[1] == fields[2]


@pytest.mark.parametrize(
    "tail",
    [(nn.flatten,), (nn.flatten, nn.Dense(3)), (nn.global_average_pool,), (nn.global_max_pool, nn.Dense(3))],
    ids=str,
)
def test_behind_what_joins_all_positions_everything_is_seen(tail):
    field = nn.receptive_field(nn.serial(nn.Conv(4, 3, stride=2), *tail), image(10, 12))
    assert (field.seen, field.support, str(field), field.jump, field.steps) == ((10, 12), 120, "all", (None, None), "")


def test_a_branch_sees_what_its_ways_see_together():
    wide, narrow = nn.Conv(2, (7, 3)), nn.Conv(2, (3, 5))
    both = nn.serial(nn.parallel(wide, narrow), nn.concatenate)
    assert nn.receptive_field(both, image()).size == (7, 5)
    assert nn.receptive_field(nn.residual(wide, nn.relu, narrow), image()).size == (9, 7)
    # A window of even size is not symmetric: with another that begins elsewhere it covers more than either.
    uneven = nn.serial(
        nn.parallel(nn.Conv(2, 2, padding=((1, 0), (0, 1))), nn.Conv(2, 2, padding=((0, 1), (1, 0)))), nn.add
    )
    assert nn.receptive_field(uneven, image()).size == (3, 3)


def test_copies_of_a_block_see_as_those_in_a_row_do():
    block = nn.residual(nn.Conv(2, 3), nn.relu, nn.Conv(2, 3))
    field = nn.receptive_field(nn.repeat(block, 4), image())
    assert field == nn.receptive_field(nn.serial(*[block] * 4), image())
    assert field.size == (17, 17)


def test_every_output_has_its_own():
    model = nn.serial(nn.Conv(4, 3, stride=2), nn.parallel(near=nn.serial(), far=nn.Conv(4, 3, stride=2)))
    near, far = nn.receptive_field(model, image())
    assert (near.size, near.jump, far.size, far.jump) == ((3, 3), (2, 2), (7, 7), (4, 4))


def test_a_transposed_convolution_divides_the_jump():
    down, up = nn.Conv(4, 3, stride=2, padding="VALID"), nn.ConvTranspose(4, 2, stride=2)
    assert nn.receptive_field(up, image()).jump == (Fraction(1, 2), Fraction(1, 2))
    assert nn.receptive_field(up, image()).steps == "1/2"
    assert nn.receptive_field(nn.serial(down, up), image(65)).jump == (1, 1)
    assert nn.receptive_field(nn.ConvTranspose(4, 4, stride=2), image()).size == (2, 2)
    assert nn.receptive_field(nn.ConvTranspose(4, 5, stride=2), image()).size == (3, 3)


def test_a_research_layer_needs_to_say_nothing_of_itself():
    class Blur(nn.Layer):
        def init(self, key, x):
            return {}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            return (x[:, 2:] + 2 * x[:, 1:-1] + x[:, :-2]) / 4, state

    field = nn.receptive_field(nn.serial(Blur(), lambda x: x[:, ::2], Blur()), image())
    assert (field.size, field.jump, field.start) == ((7, 1), (2, 1), (0, 0))
    assert (str(field), field.steps) == ("7x1=7", "2x1")


def test_what_has_no_rule_is_said_to_see_all(monkeypatch):
    monkeypatch.delitem(_dependence.RULES, "conv_general_dilated")
    assert str(nn.receptive_field(nn.Conv(2, 3), image())) == "all"
    assert "erf" in _rules.RULES


def test_ids_have_time_for_a_spatial_axis():
    model = nn.serial(nn.Embed(10, 4), nn.Conv(4, 3, padding="CAUSAL"), nn.Conv(4, 3, padding="CAUSAL", dilation=2))
    field = nn.receptive_field(model, jax.ShapeDtypeStruct((2, 30), jnp.int32))
    assert (field.size, field.jump, field.start, str(field)) == ((7,), (1,), (-6,), "7")


def test_a_field_larger_than_the_input_is_clipped_where_pixels_are_counted():
    field = nn.receptive_field(nn.serial(*[nn.Conv(2, (3, 5))] * 6), image(8, 40))
    assert (field.size, field.seen, field.support, str(field)) == ((13, 25), (8, 25), 200, "8x25=200")
    field = nn.receptive_field(nn.Conv(2, 9), image(8, 9))
    assert (field.support, str(field), field.steps) == (72, "8x9=72", "1")


def conv_block(features, window, stride=1):
    return nn.serial(nn.Conv(features, window, stride=stride, bias=False), nn.BatchNorm(), nn.relu)


def bottleneck(stride=1, *, project=False):
    main = nn.serial(conv_block(2, 1), conv_block(2, 3, stride), nn.Conv(8, 1))
    short = nn.Conv(8, 1, stride=stride) if project else nn.serial()
    return nn.serial(nn.parallel(main, short), nn.add, nn.relu)


def vgg(*counts):
    return nn.serial(*[nn.serial(*[conv_block(2, 3)] * n, nn.MaxPool(2)) for n in counts])


def resnet(*counts):
    """With the stride of a stage in its last block, as in TF-slim; in the first of the next one, it is 56 less."""
    stages = [
        nn.serial(*[bottleneck(project=i == 0) for i in range(n - 1)], bottleneck(stride, project=stride > 1))
        for n, stride in zip(counts, (2, 2, 2, 1), strict=True)
    ]
    return nn.serial(conv_block(8, 7, 2), nn.MaxPool(3, stride=2, padding="SAME"), *stages)


@pytest.mark.parametrize(
    ("model", "size", "jump"),
    [
        pytest.param(vgg(2, 2, 3, 3, 3), 212, 32, id="VGG-16"),
        pytest.param(resnet(3, 4, 6, 3), 483, 32, id="ResNet-50"),
        pytest.param(resnet(3, 4, 23, 3), 1027, 32, id="ResNet-101"),
    ],
)
def test_published_numbers(model, size, jump):
    """Those of Araujo et al. (2019)."""
    field = nn.receptive_field(model, image(224, channels=3))
    assert (field.size, field.jump) == ((size, size), (jump, jump))


def twice_as_large(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def unet(up):
    deep = nn.serial(nn.AveragePool(2), nn.Conv(2, 3), nn.AveragePool(2), nn.Conv(2, 3), up, nn.Conv(2, 3), up)
    return nn.serial(nn.Conv(2, 3), nn.parallel(nn.serial(), deep), nn.concatenate, nn.Conv(2, 3))


@pytest.mark.parametrize(
    ("model", "group"),
    [
        (nn.serial(nn.Conv(3, (3, 2), stride=2), nn.AveragePool(2), nn.Conv(2, 3, dilation=2)), 0),
        (nn.serial(nn.residual(nn.Conv(2, 3)), nn.AveragePool(3, stride=2, padding="SAME")), 0),
        (nn.serial(nn.Conv(2, 4, stride=2), nn.ConvTranspose(2, 3, stride=2), nn.Conv(2, 3)), 2),
        (nn.serial(nn.Conv(2, 3, stride=2), nn.ConvTranspose(2, 2, stride=2)), 2),
        (nn.serial(nn.Conv(2, 3, stride=2), nn.ConvTranspose(2, 2, stride=3), nn.AveragePool(3, stride=1)), 2),
        (unet(nn.ConvTranspose(2, 2, stride=2)), 4),
        (unet(nn.ConvTranspose(2, (3, 4), stride=2)), 4),
        (unet(twice_as_large), 4),
    ],
    ids=str,
)
def test_the_gradient_of_one_output_lies_just_in_its_field(model, group, key):
    """Where outputs come in groups that see the same, the first and the last see up to as much earlier and later."""
    x = jax.random.uniform(key, (1, 72, 72, 2))
    params, state = model.init(key, x)
    params = jax.tree.map(jnp.abs, params)  # so that nothing cancels
    field = nn.receptive_field(model, x)
    y, pullback = jax.vjp(lambda x: model.apply(params, state, x)[0], x)
    middle = y.shape[1] // 2
    widest = [0, 0]
    for q in range(middle - 4, middle + 4):
        at = jnp.zeros_like(y).at[0, q, q].set(1.0)
        rows, columns = np.nonzero(np.asarray(pullback(at)[0]).any(axis=(0, 3)))
        for axis, seen in enumerate((rows, columns)):
            begin = field.start[axis] + field.jump[axis] * q
            assert begin - group <= seen.min()
            assert seen.max() < begin + field.size[axis] + group
            widest[axis] = max(widest[axis], seen.max() - seen.min() + 1)
    assert tuple(widest) == field.size


def test_in_training_batch_norm_lets_all_positions_see_each_other(key):
    """Which is why inference is meant."""
    x = jax.random.normal(key, (1, 6, 6, 2))
    params, state = nn.BatchNorm().init(key, x)
    one = lambda x, train: nn.BatchNorm().apply(params, state, x, train=train)[0][0, 2, 3].sum()
    seen = [int((jax.grad(one)(x, train) != 0).any(axis=(0, 3)).sum()) for train in (False, True)]
    assert seen == [1, 36]
    assert nn.receptive_field(nn.BatchNorm(), x).support == 1


@pytest.mark.parametrize(
    "x", [jnp.zeros((8, 3)), jnp.zeros(8), (jnp.zeros((1, 4, 4, 1)),) * 2], ids=["rows", "one", "two"]
)
def test_an_input_without_spatial_axes_is_refused(x):
    with pytest.raises(
        nn.ShapeError, match=r"^expected x as one array with spatial axes, .batch, ..., features."
    ) as caught:
        nn.receptive_field(nn.serial(), x)
    assert str(caught.value).endswith(f"got {jax.tree.map(jnp.shape, x)}")


def test_nothing_is_computed():
    x = jax.ShapeDtypeStruct((32, 20_000, 20_000, 64), jnp.float32)
    assert nn.receptive_field(nn.serial(nn.Conv(1000, 3), nn.MaxPool(2)), x).size == (4, 4)
