"""Errors: the form of the message, and the trail of layers that an error passes through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.errors import ShapeError, describe, is_array, located, values


def trail(error):
    """What the library added to an error, in order, as far as a reader sees it."""
    return [note for note in getattr(error, "__notes__", []) if note.startswith(("  in ", "  hint: "))]


def test_a_shape_error_says_what_was_expected_why_and_what_came():
    error = ShapeError("x of shape (..., 784)", why="w is (784, 64)", got=(32, 28, 28))
    assert str(error) == "expected x of shape (..., 784), because w is (784, 64); got (32, 28, 28)"
    assert isinstance(error, ValueError)
    assert not hasattr(error, "__notes__")


def test_a_hint_is_a_note_of_its_own():
    error = ShapeError("x", why="y", got=1, hint="flatten first")
    assert str(error) == "expected x, because y; got 1"
    assert error.__notes__ == ["  hint: flatten first"]


@pytest.mark.parametrize(
    ("x", "described"),
    [
        (np.zeros((2, 3), np.float32), "float32[2,3]"),
        (np.float64(1.0), "float64[]"),
        (jax.ShapeDtypeStruct((4,), jnp.bfloat16), "bfloat16[4]"),
        ((np.zeros(4, np.float32), np.zeros(2, np.int32)), "(float32[4], int32[2])"),
        ({"a": np.zeros(4, np.float32), "b": 2}, "(float32[4], 2)"),
        (3.5, "3.5"),
        ((), "()"),
    ],
)
def test_arrays_are_described_by_dtype_and_shape(x, described):
    assert describe(x) == described


def test_a_key_is_described_too(key):
    assert describe(key) == "key<fry>[]"


def test_a_trail_runs_from_the_inside_out():
    with pytest.raises(TypeError) as caught, located(lambda: "outer"), located(lambda: "inner"):
        raise TypeError("wrong")
    assert trail(caught.value) == ["  in inner", "  in outer"]


def test_a_hint_stays_last_however_long_the_trail():
    with pytest.raises(ShapeError) as caught, located(lambda: "outer"), located(lambda: "inner"):
        raise ShapeError("x", why="y", got=1, hint="flatten")
    assert trail(caught.value) == ["  in inner", "  in outer", "  hint: flatten"]


def test_the_place_is_not_described_unless_there_is_an_error():
    with located(lambda: pytest.fail("described")):
        pass


def test_an_interruption_is_not_an_error_of_a_layer():
    with pytest.raises(KeyboardInterrupt) as caught, located(lambda: "outer"):
        raise KeyboardInterrupt
    assert trail(caught.value) == []


@pytest.mark.parametrize(
    "x",
    [np.zeros(2), np.float32(1), jnp.zeros(2), jax.ShapeDtypeStruct((2,), jnp.float32)],
    ids=lambda x: type(x).__name__,
)
def test_arrays_are_arrays(x):
    assert is_array(x)


@pytest.mark.parametrize("x", [1.0, 2, [1.0], None, "x"])
def test_other_things_are_not(x):
    assert not is_array(x)
    assert values(x) is None or values(x) == x  # a number has a value


def test_values_are_seen_on_the_host_and_not_inside_a_compiled_program():
    seen = []
    jax.jit(lambda x: seen.append(values(x)))(jnp.arange(3))
    assert seen == [None]
    assert values(jax.ShapeDtypeStruct((3,), jnp.int32)) is None
    assert isinstance(values(jnp.arange(3)), np.ndarray)
    np.testing.assert_array_equal(values(jnp.arange(3)), [0, 1, 2])


# Through layers: a block of a tower in an encoder, whose weights have come to be of the wrong width.

MODEL = nn.serial(encoder=nn.serial(tower=nn.repeat(nn.residual(nn.serial(project=nn.Dense(8))), 3)))
STATE = {"encoder": {"tower": {"project": {}}}}
PLACES = [
    "  in tower: repeat(residual(serial(project=Dense(8))), 3), input float32[2,8]",
    "  in encoder: serial(tower=repeat(residual(serial(project=Dense(8))), 3)), input float32[2,8]",
]
X = jnp.zeros((2, 8))


def params_of(features_in, features_out):
    weights = {"w": jnp.zeros((3, features_in, features_out)), "b": jnp.zeros((3, features_out))}
    return {"encoder": {"tower": {"project": weights}}}


ROADS = {
    "apply": lambda params: MODEL.apply(params, STATE, X),
    "apply in jit": jax.jit(lambda params: MODEL.apply(params, STATE, X)),
    "fwd in jit": jax.jit(lambda params: MODEL.fwd(params, STATE, X)),
    "by_autodiff in jit": jax.jit(
        lambda params: nn.by_autodiff(MODEL, nn.losses.mse)(params, {}, STATE, nn.Data(X, X))
    ),
    "by_hand in jit": jax.jit(lambda params: nn.by_hand(MODEL, nn.losses.mse)(params, {}, STATE, nn.Data(X, X))),
}


@pytest.mark.parametrize("road", ROADS)
def test_the_trail_goes_through_a_scan_and_nested_layers_to_the_outermost(road):
    with pytest.raises(ShapeError) as caught:
        ROADS[road](params_of(7, 8))
    assert str(caught.value) == "expected x of shape (..., 7), because w is (7, 8); got (2, 8)"
    assert trail(caught.value) == ["  in project: Dense(8), input float32[2,8]", *PLACES]


@pytest.mark.parametrize("road", ROADS)
def test_the_hint_comes_after_the_whole_trail_through_a_scan(road):
    with pytest.raises(ShapeError) as caught:
        ROADS[road](params_of(8, 9))
    *places, hint = trail(caught.value)
    assert places == PLACES
    assert hint.startswith("  hint: ")


def test_the_hint_comes_after_the_whole_trail_of_init(key):
    model = nn.serial(encoder=nn.serial(nn.residual(nn.Dense(9, w_init=nn.initializers.zeros))))
    with pytest.raises(ShapeError) as caught:
        model.init(key, X)
    *places, hint = trail(caught.value)
    assert [place.split(":")[0] for place in places] == ["  in residual_0", "  in encoder"]
    assert hint.startswith("  hint: ")


def test_errors_of_a_users_own_function_are_located_too(key):
    def boom(x):
        raise RuntimeError("no")

    model = nn.serial(encoder=nn.serial(nn.relu, boom))
    with pytest.raises(RuntimeError, match="no") as caught:
        model.apply({"encoder": {"relu_0": {}, "boom_0": {}}}, {"encoder": {"relu_0": {}, "boom_0": {}}}, X)
    assert [place.split(":")[0] for place in trail(caught.value)] == ["  in boom_0", "  in encoder"]
