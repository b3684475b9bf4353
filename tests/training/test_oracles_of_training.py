"""A whole run, on both roads, is PyTorch's loop: weights of examples and classes, clipping, penalties, averages.

In float64, to 1e-6 and better: same parameters at the start, same batches in the same order, same optimizer.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close

import jaxnn as nn
from jaxnn.optim import chain, clip, clip_by_global_norm, equally_averaged, exponentially_averaged

pytestmark = [pytest.mark.oracle, pytest.mark.usefixtures("x64")]
torch = pytest.importorskip("torch")

CLASSES, EPOCHS, BATCH, RATE = 3, 3, 4, 0.5
MODEL = nn.serial(nn.Dense(4), nn.tanh, nn.Dense(CLASSES))
RANDOM = np.random.default_rng(0)
X, Y, W = RANDOM.normal(size=(10, 5)), RANDOM.integers(0, CLASSES, 10), RANDOM.uniform(0.2, 3, 10)
SHAPES = {"dense_0": {"w": (5, 4), "b": (4,)}, "dense_1": {"w": (4, CLASSES), "b": (CLASSES,)}}
PARAMS = jax.tree.map(lambda shape: RANDOM.normal(size=shape), SHAPES, is_leaf=lambda s: isinstance(s, tuple))
BALANCED = len(Y) / (CLASSES * np.bincount(Y))
SMOOTHED = nn.losses.sparse_cross_entropy.bind(smoothing=0.1)


def leaves(params):
    return [params["dense_0"]["w"], params["dense_0"]["b"], params["dense_1"]["w"], params["dense_1"]["b"]]


def by_torch(*, weights=None, smoothing=0.0, after_backward=None, l1=0.0, l2=0.0, average=None):
    """PyTorch's own loop; the loss is the weighted mean, sum w l / sum w."""
    w0, b0, w1, b1 = parameters = [torch.tensor(p, requires_grad=True) for p in leaves(PARAMS)]
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=0.9)
    x, y, w = torch.tensor(X), torch.tensor(Y), torch.tensor(np.ones(len(Y)) if weights is None else weights)
    mean = None if average is None else [p.detach().clone() for p in parameters]
    for step in range(EPOCHS * 3):
        rows = slice(4 * (step % 3), 4 * (step % 3) + 4)
        logits = torch.tanh(x[rows] @ w0 + b0) @ w1 + b1
        losses = torch.nn.functional.cross_entropy(logits, y[rows], reduction="none", label_smoothing=smoothing)
        loss = (w[rows] * losses).sum() / w[rows].sum()
        loss = loss + sum(l1 * p.abs().sum() + l2 * (p**2).sum() for p in (w0, w1))
        optimizer.zero_grad()
        loss.backward()
        if after_backward is not None:
            after_backward(parameters)
        optimizer.step()
        if mean is not None:
            mean = [average(m, p.detach(), step) for m, p in zip(mean, parameters, strict=True)]
    return [p.detach().numpy() for p in (parameters if mean is None else mean)]


def by_jaxnn(road, *, data=None, loss=nn.losses.cross_entropy, before=None, around=lambda o: o, penalty=None):
    optimizer = nn.optim.trace(decay=0.9), nn.optim.scale(-RATE)
    optimizer = around(chain(*([] if before is None else [before]), *optimizer))
    road = road if penalty is None else nn.with_penalty(road, penalty)
    trainer = nn.trainer(MODEL, loss, optimizer, gradient=road)
    data = nn.Data(X, Y) if data is None else data
    ts = trainer.init(jax.random.key(0), jax.ShapeDtypeStruct(X.shape, jnp.float64))
    params = {**jax.tree.map(jnp.asarray, PARAMS), "tanh_0": {}}
    ts = ts._replace(params=params, opt_state=trainer.optimizer.init(params))
    return nn.fit(trainer, ts, data, epochs=EPOCHS, batch_size=BATCH, shuffle=False)[0]


def clip_values(parameters):
    torch.nn.utils.clip_grad_value_(parameters, 0.05)


def clip_norm(parameters):
    """As `clip_grad_norm_(parameters, 0.1)`, but for the 1e-6 that it adds to the norm."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    torch.nn.utils.clip_grads_with_norm_(parameters, 0.1, torch.maximum(norm, torch.tensor(0.1)) - 1e-6)


def ema(mean, p, step):
    """As `AveragedModel` with `get_ema_multi_avg_fn(0.8)`, which begins with a copy."""
    return p.clone() if step == 0 else 0.8 * mean + 0.2 * p


def swa(mean, p, step):
    return p.clone() if step == 0 else mean + (p - mean) / (step + 1)


# What is asked of ours, and of PyTorch's loop.
ROWS = {
    "plain": ({}, {}),
    "weights of examples": ({"data": nn.Data(X, Y, W)}, {"weights": W}),
    "balanced classes": ({"data": "balanced"}, {"weights": BALANCED[Y]}),
    "clipped values": ({"before": clip(0.05)}, {"after_backward": clip_values}),
    "clipped norm": ({"before": clip_by_global_norm(0.1)}, {"after_backward": clip_norm}),
    "L1 and L2": ({"penalty": nn.losses.Penalty(l1=0.01, l2=0.02)}, {"l1": 0.01, "l2": 0.02}),
    "smoothed labels": ({"loss": SMOOTHED}, {"smoothing": 0.1}),
    "exponential average": (
        {"around": functools.partial(exponentially_averaged, decay=0.8, debias=False)},
        {"average": ema},
    ),
    "equal average": ({"around": equally_averaged}, {"average": swa}),
}


@pytest.mark.parametrize("road", [nn.by_autodiff, nn.by_hand])
@pytest.mark.parametrize("name", ROWS)
def test_a_run_is_pytorchs(name, road):
    ours, theirs = ROWS[name]
    if ours.get("data") == "balanced":
        ours = {**ours, "data": nn.data.class_weighted(nn.Data(jnp.asarray(X), jnp.asarray(Y)), classes=CLASSES)}
    ts = by_jaxnn(road, **ours)
    ts = nn.training.averaged(ts) if "average" in theirs else ts
    expected = by_torch(**theirs)
    assert_close(tuple(leaves(ts.params)), tuple(expected), 1e-10)
    if name != "plain":  # or the comparison would say nothing of what the row is about
        plain = by_torch()
        assert max(np.abs(a - b).max() for a, b in zip(expected, plain, strict=True)) > 1e-3
