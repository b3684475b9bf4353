"""Normalisations of each example: against PyTorch, flax and loops in NumPy, at the extremes, and what they refuse."""

from dataclasses import dataclass, replace
from typing import Any

import chex
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import ops


@dataclass(frozen=True)
class Norm:
    """One of them, what it is elsewhere, and over which axes of `(batch, height, width, groups, features)` it works."""

    op: Any
    layer: Any
    flax: Any
    torch: Any
    axes: tuple[int, ...]
    groups: int = 1
    offset: bool = True
    mean: bool = True

    @property
    def settings(self):
        return {"groups": self.groups} if self.op is ops.group_norm else {}


FEATURES = 6
NORMS = {
    "layer_norm": Norm(
        ops.layer_norm,
        nn.LayerNorm,
        linen.LayerNorm,
        lambda F, x, w, b, eps: F.layer_norm(x.movedim(1, -1), (FEATURES,), w, b, eps).movedim(-1, 1),
        (3, 4),
    ),
    "rms_norm": Norm(
        ops.rms_norm,
        nn.RMSNorm,
        linen.RMSNorm,
        lambda F, x, w, b, eps: F.rms_norm(x.movedim(1, -1), (FEATURES,), w, eps).movedim(-1, 1),
        (3, 4),
        offset=False,
        mean=False,
    ),
    "group_norm": Norm(
        ops.group_norm,
        lambda **settings: nn.GroupNorm(3, **settings),
        lambda **settings: linen.GroupNorm(3, **settings),
        lambda F, x, w, b, eps: F.group_norm(x, 3, w, b, eps),
        (1, 2, 4),
        groups=3,
    ),
    "instance_norm": Norm(
        ops.instance_norm,
        nn.InstanceNorm,
        linen.InstanceNorm,
        lambda F, x, w, b, eps: F.instance_norm(x, weight=w, bias=b, eps=eps),
        (1, 2, 4),
        groups=FEATURES,
    ),
}
every = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def drawn(norm, dtype=np.float64, shape=(4, 5, 3, FEATURES)):
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=shape).astype(dtype) + 1 for _ in range(2))
    scale, offset = (random.normal(size=FEATURES).astype(dtype) for _ in range(2))
    return x, scale, offset if norm.offset else None, dy


def by_hand(norm, x, scale, offset, dy, epsilon):
    """y, dx, d_scale and, where there is one, d_offset."""
    arrays = [jnp.asarray(a) for a in (x, scale, offset) if a is not None]
    y, residuals = norm.op.fwd(*arrays, epsilon=epsilon, **norm.settings)
    return y, *norm.op.bwd(residuals, jnp.asarray(dy), epsilon=epsilon, **norm.settings)


def by_a_loop(norm, x, scale, offset, epsilon):
    """In float64, group by group, as the equations are read."""
    x = np.asarray(x, np.float64)
    grouped = x.reshape(*x.shape[:-1], norm.groups, -1)
    y = np.empty_like(grouped)
    kept = [axis for axis in range(5) if axis not in norm.axes]
    for place in np.ndindex(*(grouped.shape[axis] for axis in kept)):
        index = tuple(dict(zip(kept, place, strict=True)).get(axis, slice(None)) for axis in range(5))
        part = grouped[index]
        mean = part.mean() if norm.mean else 0.0
        y[index] = (part - mean) / np.sqrt(((part - mean) ** 2).mean() + epsilon)
    y = y.reshape(x.shape) * scale
    return y if offset is None else y + offset


@pytest.mark.oracle
@every
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_value_and_gradients_are_those_of_torch(norm, epsilon, x64):
    torch = pytest.importorskip("torch")
    x, scale, offset, dy = drawn(norm)
    theirs = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, scale, offset)]
    out = norm.torch(torch.nn.functional, theirs[0].movedim(-1, 1), *theirs[1:], epsilon).movedim(1, -1)
    out.backward(torch.tensor(dy))
    expected = [out.detach().numpy(), *(a.grad.numpy() for a in theirs if a is not None)]
    for ours, a in zip(by_hand(norm, x, scale, offset, dy, epsilon), expected, strict=True):
        np.testing.assert_allclose(ours, a, rtol=1e-10, atol=1e-12)


@every
def test_value_and_gradients_are_those_of_flax(norm, x64, loose):
    """With weights carried over, as layers."""
    x, scale, offset, dy = (None if a is None else jnp.asarray(a) for a in drawn(norm))
    params = {"scale": scale, **({} if offset is None else {"offset": offset})}
    layer, module = norm.layer(epsilon=1e-3), norm.flax(epsilon=1e-3, param_dtype=jnp.float64)

    def apply(params, x):
        renamed = {{"offset": "bias"}.get(name, name): p for name, p in params.items()}
        return module.apply({"params": renamed}, x)

    theirs, pull = jax.vjp(apply, params, x)
    (y, _), residuals = layer.fwd(params, {}, x)
    np.testing.assert_allclose(y, theirs, rtol=1e-11, atol=1e-12)
    for ours, a in zip(jax.tree.leaves(layer.bwd(residuals, dy)), jax.tree.leaves(pull(dy)), strict=True):
        np.testing.assert_allclose(ours, a, rtol=1e-10, atol=1e-12)


@pytest.mark.oracle
def test_batch_norm_is_that_of_torch_with_one_less_decay_and_the_biased_variance_kept(x64):
    """In training and in inference, values and gradients; PyTorch keeps n / (n - 1) of the variance."""
    torch = pytest.importorskip("torch")
    x, scale, offset, dy = drawn(NORMS["layer_norm"])
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, scale, offset)]
    running = torch.zeros(FEATURES, dtype=torch.float64), torch.ones(FEATURES, dtype=torch.float64)
    layer, params = nn.BatchNorm(decay=0.9), {"scale": jnp.asarray(scale), "offset": jnp.asarray(offset)}
    state = {"mean": jnp.zeros(FEATURES), "var": jnp.ones(FEATURES)}
    for train in (True, False):
        for a in theirs:
            a.grad = None
        out = torch.nn.functional.batch_norm(
            theirs[0].movedim(-1, 1), *running, *theirs[1:], training=train, momentum=0.1, eps=1e-5
        ).movedim(1, -1)
        out.backward(torch.tensor(dy))
        (y, state), residuals = layer.fwd(params, state, jnp.asarray(x), train=train)
        d_params, dx = layer.bwd(residuals, jnp.asarray(dy))
        expected = [out.detach().numpy(), *(a.grad.numpy() for a in theirs)]
        for ours, a in zip([y, dx, d_params["scale"], d_params["offset"]], expected, strict=True):
            np.testing.assert_allclose(ours, a, rtol=1e-9, atol=1e-11)
        if train:
            n = x.size // FEATURES
            np.testing.assert_allclose(state["mean"], running[0].numpy(), rtol=1e-10)
            np.testing.assert_allclose((state["var"] - 0.9) * n / (n - 1) + 0.9, running[1].numpy(), rtol=1e-10)
            state = {"mean": jnp.asarray(running[0].numpy()), "var": jnp.asarray(running[1].numpy())}


def test_batch_norm_is_that_of_flax(x64, loose):
    x, scale, offset, dy = map(jnp.asarray, drawn(NORMS["layer_norm"]))
    layer, params = nn.BatchNorm(), {"scale": scale, "offset": offset}
    _, state = layer.init(jax.random.key(0), x)
    for train in (True, False):
        module = linen.BatchNorm(use_running_average=not train, param_dtype=jnp.float64)

        def apply(params, x, module=module, state=state):
            renamed = {"scale": params["scale"], "bias": params["offset"]}
            return module.apply({"params": renamed, "batch_stats": state}, x, mutable="batch_stats")

        theirs, pull, new = jax.vjp(apply, params, x, has_aux=True)
        (y, state), residuals = layer.fwd(params, state, x, train=train)
        np.testing.assert_allclose(y, theirs, rtol=1e-10, atol=1e-11)
        for ours, a in zip(jax.tree.leaves(layer.bwd(residuals, dy)), jax.tree.leaves(pull(dy)), strict=True):
            np.testing.assert_allclose(ours, a, rtol=1e-9, atol=1e-11)
        chex.assert_trees_all_close(state, dict(new["batch_stats"]), rtol=1e-10)


@every
def test_value_is_that_of_a_loop_with_the_epsilon_of_keras(norm, x64):
    x, scale, offset, dy = drawn(norm)
    expected = by_a_loop(norm, x, scale, offset, 1e-3)
    np.testing.assert_allclose(by_hand(norm, x, scale, offset, dy, 1e-3)[0], expected, rtol=1e-12, atol=1e-13)


@every
def test_digits_are_kept_about_a_large_mean(norm):
    """And equal numbers give 0, where a rounded mean would leave something of the size of 1."""
    x, scale, offset, dy = drawn(norm, np.float32)
    x = (x + np.float32(1e4)).astype(np.float32)
    y = by_hand(norm, x, scale, offset, dy, 1e-5)[0]
    np.testing.assert_allclose(y, by_a_loop(norm, x, scale, offset, 1e-5), rtol=1e-5, atol=1e-5)
    if norm.mean:
        equal = np.full((2, 28, 28, FEATURES), 12345.678, np.float32)
        y, dx, *_ = by_hand(norm, equal, scale, offset, np.ones_like(equal), 1e-5)
        np.testing.assert_allclose(y, np.broadcast_to(offset, equal.shape), atol=1e-4)
        assert jnp.isfinite(dx).all()


@every
def test_zeros_have_a_finite_gradient(norm):
    x, scale, offset, dy = drawn(norm, np.float32)
    for d in by_hand(norm, 0 * x, scale, offset, dy, 1e-5):
        assert jnp.isfinite(d).all()


@every
def test_bfloat16_is_summed_in_float32(norm):
    """y and dx as if rounded once. Sums over positions are of rounded x^; added up in bfloat16 they would stall."""
    x, scale, offset, dy = (
        None if a is None else np.asarray(jnp.asarray(a, jnp.bfloat16))
        for a in drawn(norm, shape=(8, 16, 16, FEATURES))
    )
    low = by_hand(norm, x, scale, offset, dy, 1e-5)
    wide = [None if a is None else a.astype(np.float32) for a in (x, scale, offset, dy)]
    for ours, exact in zip(low, by_hand(norm, *wide, 1e-5), strict=True):
        assert ours.dtype == jnp.bfloat16
        largest = float(jnp.abs(exact).max())
        np.testing.assert_allclose(
            ours.astype(jnp.float32) / largest, exact / largest, atol=2**-8 if exact.ndim > 1 else 2**-6
        )


@every
def test_examples_do_not_see_each_other(norm, x64):
    x, scale, offset, dy = drawn(norm)
    y, dx, *_ = by_hand(norm, x, scale, offset, dy, 1e-5)
    others = np.concatenate([x[:1], 100 * x[1:]])
    np.testing.assert_allclose(by_hand(norm, others, scale, offset, dy, 1e-5)[0][0], y[0], rtol=1e-12)
    alone = by_hand(norm, x[:1], scale, offset, dy[:1], 1e-5)
    np.testing.assert_allclose(alone[1][0], dx[0], rtol=1e-11, atol=1e-13)


def test_one_group_is_layer_norm_over_positions_and_many_are_instance_norm(x64):
    x, scale, offset, _ = map(jnp.asarray, drawn(NORMS["group_norm"]))
    many = ops.group_norm(x, scale, offset, groups=FEATURES)
    np.testing.assert_allclose(many, ops.instance_norm(x, scale, offset), rtol=1e-13)
    one = ops.group_norm(x, None, None, groups=1)
    np.testing.assert_allclose(one.reshape(4, -1), ops.layer_norm(x.reshape(4, -1), None, None), rtol=1e-10, atol=1e-12)
    row = x[:, 0, 0]
    np.testing.assert_allclose(ops.group_norm(row, scale, offset, groups=1), ops.layer_norm(row, scale, offset))


X = jnp.ones((2, 4, 6))
REFUSED = {
    "another width": (nn.LayerNorm(), X[..., :4], nn.ShapeError, r"x of shape \(..., 6\), .*; got \(2, 4, 4\)"),
    "another width of rms": (nn.RMSNorm(), X[..., :4], nn.ShapeError, r"x of shape \(..., 6\), .*; got \(2, 4, 4\)"),
    "another width of group": (nn.GroupNorm(2), X[..., :4], nn.ShapeError, r"x of shape \(..., 6\)"),
    "groups": (nn.GroupNorm(4), X, ValueError, "expected groups that divide 6, because x has so many features; got 4"),
    "no groups": (nn.GroupNorm(0), X, ValueError, "expected groups that divide 6, .*; got 0"),
    "no batch": (nn.GroupNorm(2), X[0, 0], nn.ShapeError, r"x of shape \(batch, ..., features\), .*; got \(6,\)"),
    "a group of one": (nn.GroupNorm(6), X[:, :1], nn.ShapeError, r"more than one position .*; got \(2, 1, 6\)"),
    "one position": (nn.InstanceNorm(), X[:, :1], nn.ShapeError, "a single number less its mean is 0"),
    "no positions": (nn.InstanceNorm(), X[:, 0], nn.ShapeError, r"at least one spatial axis, .*; got \(2, 6\)"),
}


@pytest.mark.parametrize(("layer", "x", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused(layer, x, error, message):
    params, _ = layer.init(jax.random.key(0), X)
    for method in (layer.apply, layer.fwd):
        with pytest.raises(error, match=message):
            method(params, {}, x)


def test_one_feature_has_no_layer_norm():
    with pytest.raises(nn.ShapeError, match=r"with more than one of them, because a single .*; got \(2, 1\)"):
        nn.LayerNorm(scale=False, offset=False).apply({}, {}, jnp.ones((2, 1)))


@pytest.mark.parametrize("layer", [nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(2), nn.InstanceNorm()], ids=repr)
def test_integers_and_other_names_are_refused(layer, unannotated):
    params, _ = layer.init(jax.random.key(0), X)
    with pytest.raises(TypeError, match=r"expected floating x, .*; got uint8: cast it first"):
        layer.apply(params, {}, X.astype(jnp.uint8))
    with pytest.raises(ValueError, match=r"expected parameters scale.*got gamma"):
        layer.apply({"gamma": params["scale"]}, {}, X)


def test_they_have_names_and_places_in_a_model():
    model = nn.serial(
        nn.Conv(6, 3), nn.GroupNorm(2), nn.InstanceNorm(), nn.flatten, nn.Dense(4), nn.LayerNorm(), nn.RMSNorm()
    )
    table = str(nn.summary(model, jnp.ones((2, 8, 8, 3))))
    for name, parameters in (("group_norm_0", 12), ("instance_norm_0", 12), ("layer_norm_0", 8), ("rms_norm_0", 4)):
        (row,) = (line for line in table.splitlines() if line.startswith(name))
        assert f" {parameters} " in row
        assert row.endswith("hand")


def test_a_wrong_norm_is_told_from_the_right_one(x64):
    """The loop knows the axes: over those of another norm the values are others."""
    x, scale, offset, dy = drawn(NORMS["group_norm"])
    y = by_hand(NORMS["group_norm"], x, scale, offset, dy, 1e-5)[0]
    wrong = by_a_loop(replace(NORMS["group_norm"], groups=2), x, scale, offset, 1e-5)
    assert np.abs(np.asarray(y) - wrong).max() > 0.1
