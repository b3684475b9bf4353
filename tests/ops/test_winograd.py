"""Winograd's form of convolution against XLA's: its values, what it leaves untouched, and where it is used."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.ops import _correlation_cpu as cpu
from jaxnn.ops import _correlation_products as products
from jaxnn.ops import _correlation_winograd as winograd
from jaxnn.ops import _correlation_xla as xla
from jaxnn.ops._windows import windows


def draw(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


GEOMETRIES = {
    "one axis": ((9,), (3,), 1),
    "one axis, causal": ((8,), (3,), [(2, 0)]),
    "two axes": ((7, 6), (3, 3), 1),
    "two axes, padded unevenly": ((6, 7), (3, 3), [(0, 2), (3, 1)]),
    "two axes, no padding": ((5, 8), (3, 3), 0),
    "a single window": ((3, 3), (3, 3), 0),
    "the last of two": ((6, 7), (2, 3), [(0, 1), (1, 1)]),
    "three axes": ((4, 5, 4), (3, 3, 3), 1),
    "the last of three": ((4, 5, 4), (1, 2, 3), 0),
}


@pytest.mark.parametrize("blocks", ["one", "several"])
@pytest.mark.parametrize("o", [4, 6])  # fewer than features in, and more: the factors change places
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_values_are_those_of_xla(geometry, o, blocks, x64, monkeypatch):
    if blocks == "several":
        monkeypatch.setattr(products, "WORKSPACE", 200)
    sizes, taps, padding = GEOMETRIES[geometry]
    axes = windows(sizes, taps, padding=padding)
    x, w, y = draw(0, (3, *sizes, 5)), draw(1, (*taps, 5, o)), draw(2, (3, *(a.out for a in axes), o))
    for name, a, b in (("correlate", x, w), ("transpose", y, w), ("weigh", x, y)):
        got = jax.jit(partial(getattr(winograd, name), axes=axes))(a, b)
        expected = getattr(xla, name)(a, b, axes=axes, groups=1)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("wrong", ["_of_x", "_of_w", "_of_y", "_of_m", "_of_d"])
def test_a_wrong_transform_is_caught(wrong, x64, monkeypatch):
    """The proof that the test above can fail: for each of the five, one whose outcome is turned round."""
    right = getattr(winograd, wrong)

    def turned(arrays, axis):
        outcome = right(arrays, axis)
        return outcome[::-1] if isinstance(outcome, list) else jnp.flip(outcome, axis)

    monkeypatch.setattr(winograd, wrong, turned)
    axes = windows((6, 6), (3, 3), padding=1)
    x, w, y = draw(0, (2, 6, 6, 5)), draw(1, (3, 3, 5, 4)), draw(2, (2, 6, 6, 4))
    agrees = {
        name: np.allclose(getattr(winograd, name)(a, b, axes=axes), getattr(xla, name)(a, b, axes=axes, groups=1))
        for name, a, b in (("correlate", x, w), ("weigh", x, y))
    }
    assert not all(agrees.values())


@pytest.mark.parametrize("at", [(0, 0), (3, 3), (2, 5), (6, 1)])
@pytest.mark.parametrize("value", [1.0, jnp.nan, jnp.inf])
def test_only_windows_that_see_a_position_differ_by_it(value, at):
    axes = windows((7, 7), (3, 3), padding=1)
    x = jnp.zeros((1, 7, 7, 2)).at[0, *at].set(value)
    y = winograd.correlate(x, draw(0, (3, 3, 2, 2)).astype(jnp.float32), axes=axes)
    seen = np.add.outer(abs(np.arange(7) - at[0]) <= 1, abs(np.arange(7) - at[1]) <= 1, dtype=int) == 2
    np.testing.assert_array_equal((y != 0).any((0, -1)), seen)  # not a number is not zero
    np.testing.assert_array_equal(jnp.isfinite(y).all((0, -1)), ~seen | np.isfinite(value))


def test_float32_loses_little():
    """Against the same in float64: not more than a few times what a plain sum loses."""
    axes = windows((16, 16), (3, 3), padding=1)
    x, w = (
        np.random.default_rng(seed).normal(size=shape) for seed, shape in ((0, (4, 16, 16, 64)), (1, (3, 3, 64, 64)))
    )
    with jax.enable_x64(True):
        exact = xla.correlate(jnp.asarray(x), jnp.asarray(w), axes=axes, groups=1)
    x, w = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    lost = [
        float(jnp.sqrt(jnp.mean((y - np.asarray(exact, np.float32)) ** 2)))
        for y in (winograd.correlate(x, w, axes=axes), products.correlate(x, w, axes=axes))
    ]
    assert lost[0] < 4 * lost[1] < 1e-3


def test_it_is_used_where_it_wins(monkeypatch):
    used = []
    for name in ("correlate", "transpose", "weigh"):
        monkeypatch.setattr(winograd, name, lambda a, b, *, axes, name=name: used.append(name) or jnp.zeros(()))

    def ask(dtype=jnp.float32, size=14, i=32, o=64, taps=3, stride=1, dilation=1):
        used.clear()
        axes = windows((size, size), (taps, taps), stride=stride, padding="SAME", dilation=dilation)
        x, w, y = (
            jnp.zeros(s, dtype) for s in ((2, size, size, i), (taps, taps, i, o), (2, *[a.out for a in axes], o))
        )
        for compute, a, b in ((cpu.correlate, x, w), (cpu.transpose, y, w), (cpu.weigh, x, y)):
            jax.eval_shape(partial(compute, axes=axes, groups=1), a, b)
        return list(used)

    assert ask() == ["correlate", "transpose", "weigh"]
    assert ask(i=8) == ask(size=6) == ["weigh"]  # thin products do not pay for what is moved
    assert ask(jnp.bfloat16) == ask(stride=2) == ask(dilation=2) == ask(taps=5) == ask(i=4) == []
