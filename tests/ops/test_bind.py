"""An op with its settings: `bind`, and settings that are swept."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops import Op, conv, softmax
from jaxnn.typing import Array, Scalar


def scaled(x: Array, *, by: Scalar = 2.0, twice: bool = False) -> Array:
    return x * by * (2 if twice else 1)


def scaled_fwd(x, *, by=2.0, twice=False):
    return scaled(x, by=by, twice=twice), ()


def scaled_bwd(residuals, dy, *, by=2.0, twice=False):
    return (scaled(dy, by=by, twice=twice),)


def weighted(x: Array, *, weights: Array | None = None) -> Array:
    return x if weights is None else x * weights


def make(*, install=False):
    op = Op(scaled)
    op.defvjp(scaled_fwd, scaled_bwd, install=install)
    return op


def test_settings_are_bound_on_every_road():
    op, x = make().bind(by=3.0), jnp.ones(2)
    y, residuals = op.fwd(x)
    for got in (op(x), op.plain(x), y, op.bwd(residuals, x)[0]):
        np.testing.assert_array_equal(got, 3 * x)
    np.testing.assert_array_equal(op.bind(twice=True)(x), 6 * x)
    np.testing.assert_array_equal(op(x, by=5.0), 5 * x)  # what a call says goes before
    np.testing.assert_array_equal(make()(x), 2 * x)


def test_bound_ops_are_equal_if_their_settings_are():
    assert softmax.bind(axis=0) == softmax.bind(axis=0) != softmax
    assert hash(softmax.bind(axis=0)) == hash(softmax.bind(axis=0))
    assert softmax.bind(axis=0) != softmax.bind(axis=1)
    assert nn.serial(softmax.bind(axis=0)) == nn.serial(softmax.bind(axis=0))
    assert repr(nn.serial(softmax.bind(axis=0))) == "serial(softmax(axis=0))"
    assert pickle.loads(pickle.dumps(softmax.bind(axis=0))) == softmax.bind(axis=0)
    assert pickle.loads(pickle.dumps(softmax)) is softmax
    rate, op = jnp.float32(2.0), make()
    assert op.bind(by=rate) == op.bind(by=rate) != op.bind(by=jnp.float32(2.0))


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(TypeError, match=r"expected settings of softmax, which are axis, where; got axes$"):
        softmax.bind(axes=0)
    with pytest.raises(TypeError, match=r"expected settings of relu, which are none; got slope$"):
        nn.relu.bind(slope=0.1)


@pytest.mark.parametrize("install", [False, True])
def test_a_scalar_setting_may_be_swept_and_differentiated(install):
    op, x = make(install=install), jnp.arange(3.0)
    by = jnp.array([1.0, 2.0])
    np.testing.assert_array_equal(jax.vmap(lambda by: op(x, by=by))(by), by[:, None] * x[None])
    np.testing.assert_array_equal(jax.vmap(lambda by: op.bind(by=by)(x))(by), by[:, None] * x[None])
    np.testing.assert_array_equal(jax.grad(lambda by: op(x, by=by).sum())(2.0), 3.0)
    np.testing.assert_array_equal(jax.grad(lambda x: op(x, by=by[1]).sum())(x), 2 * jnp.ones(3))


def test_a_static_setting_may_not_be_an_array():
    with pytest.raises(TypeError, match="got twice as an array"):
        make()(jnp.ones(2), twice=jnp.array(True))
    with pytest.raises(TypeError, match="got stride as an array"):
        conv.bind(stride=jnp.array(2))(jnp.ones((1, 3, 1)), jnp.ones((1, 1, 1)))


def test_a_numpy_array_that_is_changed_later_changes_nothing():
    """Neither what is called as it is, nor what is compiled and found again by the op."""
    by, x = np.array([1.0, 2.0], np.float32), jnp.ones(2)
    op, compiled = make().bind(by=by), jax.jit(lambda op, x: op(x), static_argnums=0)
    np.testing.assert_array_equal(compiled(op, x), [1.0, 2.0])
    by[0] = 5.0
    np.testing.assert_array_equal(op(x), [1.0, 2.0])
    np.testing.assert_array_equal(compiled(op, x), [1.0, 2.0])
    np.testing.assert_array_equal(compiled(make().bind(by=by), x), [5.0, 2.0])


def test_a_numpy_array_is_a_value_that_is_seen_within_jit_too():
    with pytest.raises(ValueError, match="expected b > 0"):
        jax.jit(lambda x: nn.ops.squareplus(x, b=np.zeros(())))(jnp.ones(2))


@pytest.mark.parametrize("weights", [[3.0, 5.0], (3.0, 5.0), np.array([3.0, 5.0])], ids=["list", "tuple", "numpy"])
def test_a_list_stands_for_an_array_on_every_road(weights):
    op, x = Op(weighted), jnp.ones(2)
    op.defvjp(
        lambda x, *, weights=None: (op.plain(x, weights=weights), ()),
        lambda residuals, dy, *, weights=None: (dy * weights,),
    )
    bound = op.bind(weights=weights)
    for y in (op(x, weights=weights), op.plain(x, weights=weights), bound(x), jax.jit(bound)(x), bound.fwd(x)[0]):
        np.testing.assert_array_equal(y, [3.0, 5.0])
    np.testing.assert_array_equal(op.bwd((), x, weights=weights)[0], [3.0, 5.0])
    np.testing.assert_array_equal(bound.bwd((), x)[0], [3.0, 5.0])


def test_ops_with_equal_lists_for_arrays_are_equal():
    """So that what is compiled for one is found by the other; arrays are the same only if they are one."""
    mask = [True, False]
    op = softmax.bind(where=mask)
    assert op == softmax.bind(where=(True, False)) != softmax.bind(where=[True, True])
    assert hash(op) == hash(softmax.bind(where=(True, False)))
    assert repr(op) == "softmax(where=(True, False))"
    assert pickle.loads(pickle.dumps(op)) == op
    mask[0] = False
    np.testing.assert_array_equal(op(jnp.ones(2)), [1.0, 0.0])


def test_a_list_for_an_array_may_hold_tracers():
    op, x = Op(weighted), jnp.ones(2)
    total = lambda w: op.bind(weights=[w, 2.0])(x).sum()
    assert jax.jit(total)(3.0) == 5.0
    assert jax.grad(total)(3.0) == 1.0
    assert hash(op.bind(weights=[jnp.float32(1.0), 2.0])) is not None


@pytest.mark.parametrize("weights", [[[1.0], [1.0, 2.0]], ["a", "b"], [None, 1.0]], ids=["ragged", "text", "nothing"])
def test_a_list_that_is_no_array_is_refused(weights):
    message = r"expected weights as numbers, in rows of one length, because it is an array; got \("
    with pytest.raises(TypeError, match=message):
        Op(weighted)(jnp.ones(2), weights=weights)
