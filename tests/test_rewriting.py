"""A layer is replaced by its name, wherever it stands, and all else is as it was."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn
from jaxnn.layers import replace_layer

NEW = nn.Dense(5)
BODY = nn.serial(nn.Dense(4), nn.relu)
SHARED = nn.Dense(4)

REPLACED = nn.serial(dense_0=NEW, relu_0=nn.relu)
HEAD = nn.Dense(3)
CASES = {
    "serial": (nn.serial(stem=BODY, head=HEAD), "head", nn.serial(stem=BODY, head=NEW)),
    "one within": (nn.serial(stem=BODY, head=HEAD), "stem/dense_0", nn.serial(stem=REPLACED, head=HEAD)),
    "numbered": (BODY, "dense_0", REPLACED),
    "one object twice": (nn.serial(a=SHARED, b=SHARED), "b", nn.serial(a=SHARED, b=NEW)),
    "parallel": (nn.parallel(a=BODY, b=HEAD), "a/dense_0", nn.parallel(a=REPLACED, b=HEAD)),
    "residual": (nn.serial(a=nn.residual(b=BODY, c=HEAD)), "a/c", nn.serial(a=nn.residual(b=BODY, c=NEW))),
    "all of a residual": (nn.serial(a=nn.residual(BODY), b=HEAD), "a", nn.serial(a=NEW, b=HEAD)),
    "repeat": (nn.repeat(nn.residual(a=BODY, b=nn.tanh), 3), "b", nn.repeat(nn.residual(a=BODY, b=NEW), 3)),
    "remat": (nn.serial(a=nn.remat(b=BODY, c=nn.tanh)), "a/c", nn.serial(a=nn.remat(b=BODY, c=NEW))),
    "in precision": (
        nn.in_precision(BODY, policy=nn.Precision()),
        "dense_0",
        nn.in_precision(REPLACED, policy=nn.Precision()),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_layer_of_that_name_is_replaced_and_no_other(case):
    model, name, expected = CASES[case]
    before = repr(model)
    assert replace_layer(model, name, NEW) == expected
    assert repr(model) == before


def test_an_op_is_a_layer_by_itself():
    assert replace_layer(BODY, "relu_0", nn.tanh) == nn.serial(dense_0=nn.Dense(4), relu_0=nn.tanh)


def test_a_name_is_that_of_parameters_and_other_parameters_keep_theirs(key):
    model = nn.serial(stem=nn.Dense(4), tower=nn.repeat(nn.residual(nn.Dense(4), nn.tanh), 2), head=nn.Dense(3))
    x = jax.ShapeDtypeStruct((1, 2), jnp.float32)
    shapes = lambda model: {
        name: leaf.shape for name, leaf in nn.tree.named_leaves(jax.eval_shape(model.init, key, x)[0]).items()
    }
    old = shapes(model)
    new = shapes(replace_layer(model, "head", nn.Dense(7)))
    assert new == {**old, "head/w": (4, 7), "head/b": (7,)}
    copies = shapes(replace_layer(model, "tower/dense_0", nn.serial(nn.Dense(9), nn.Dense(4))))
    assert copies["tower/dense_0/dense_0/w"] == (2, 4, 9)


def test_an_empty_serial_in_the_place_of_the_head_gives_features(key):
    model = nn.serial(stem=BODY, head=nn.Dense(3))
    params, state = model.init(key, jnp.ones((2, 2)))
    features, _ = replace_layer(model, "head", nn.serial()).apply(params, state, jnp.ones((2, 2)))
    expected, _ = BODY.apply(params["stem"], state["stem"], jnp.ones((2, 2)))
    assert (features == expected).all()


@dataclasses.dataclass(frozen=True)
class Tied(nn.Layer):
    """Somebody's own: two layers in settings of their own names, and one that it makes itself."""

    encoder: nn.Layer
    decoder: nn.Layer
    width: int = dataclasses.field(default=3, init=False)

    def init(self, key, x):
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return x, state

    @property
    def children(self):
        return {"encoder": self.encoder, "decoder": self.decoder, "made": nn.Dense(self.width)}


def test_a_layer_of_ones_own_has_its_children_in_settings_of_their_names():
    """Even if both are one object."""
    assert replace_layer(Tied(SHARED, SHARED), "decoder", NEW) == Tied(SHARED, NEW)


def test_a_traced_setting_does_not_matter():
    def rates(rate):
        model = replace_layer(nn.serial(a=nn.Dropout(rate), head=nn.Dense(3)), "head", nn.Dropout(rate))
        return [layer.rate for layer in model.children.values()]

    assert jax.jit(rates)(0.5) == [0.5, 0.5]


# Errors.


def test_a_name_that_there_is_not_is_refused_with_those_that_there_are():
    model = nn.serial(stem=BODY, tower=nn.repeat(nn.residual(nn.Dense(4), nn.tanh), 2), head=nn.Dense(3))
    there = "stem, stem/dense_0, stem/relu_0, tower, tower/dense_0, tower/tanh_0, head"
    for name in ("haed", "stem/dense_1", "head/w", "", "stem/"):
        with pytest.raises(ValueError, match="expected the name of a layer of the model") as error:
            replace_layer(model, name, NEW)
        assert str(error.value) == (
            f"expected the name of a layer of the model, because it is replaced; got {name!r}, and there are: {there}"
        )
    with pytest.raises(ValueError, match=r"and there are: none$"):
        replace_layer(nn.Dense(3), "dense_0", NEW)


@pytest.mark.parametrize(
    ("model", "name", "new"),
    [
        (nn.serial(rnn=nn.bidirectional(nn.LSTM(4))), "rnn/forward", nn.LSTM(8)),
        (nn.serial(rnn=nn.bidirectional(nn.LSTM(4))), "rnn/backward", nn.LSTM(8, reverse=True)),
        (Tied(SHARED, SHARED), "made", NEW),
    ],
)
def test_what_a_layer_makes_itself_cannot_be_replaced_in_it(model, name, new):
    with pytest.raises(
        TypeError,
        match=r"expected a layer that is a setting of the one around it, because it is replaced there; got "
        r"'(forward|backward|made)', which .* makes itself\n  hint: replace '(bidirectional|tied)' as a whole",
    ):
        replace_layer(model, name, new)


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match="expected a layer, an op or a function"):
        replace_layer(nn.serial(head=nn.Dense(3)), "head", 5)
