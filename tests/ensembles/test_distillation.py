"""Distillation is PyTorch's divergence at a temperature, and teaches one small model what an ensemble says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.losses import distillation


@pytest.mark.oracle
def test_equals_pytorch(x64):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    z, v, t = random.normal(size=(6, 4)), 3 * random.normal(size=(6, 4)), 2.5
    student, teacher = (torch.tensor(a) for a in (z, v))
    log_p, log_q = (torch.log_softmax(a / t, -1) for a in (student, teacher))
    expected = t * t * torch.nn.functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)
    np.testing.assert_allclose(distillation(jnp.asarray(z), jnp.asarray(v), temperature=t), expected, rtol=1e-10)


def test_the_gradient_keeps_its_scale(x64):
    """At a high temperature it is that of half the squared difference of centred logits, over the classes."""
    random = np.random.default_rng(0)
    z, v = random.normal(size=(2, 5)), random.normal(size=(2, 5))
    centred = lambda a: a - a.mean(-1, keepdims=True)
    slope = jax.grad(lambda z: distillation(z, jnp.asarray(v), temperature=1e4).sum())(jnp.asarray(z))
    np.testing.assert_allclose(slope, (centred(z) - centred(v)) / 5, rtol=1e-3)


@pytest.mark.parametrize(("dtype", "t"), [(jnp.bfloat16, 20.0), (jnp.float16, 300.0)])
def test_high_temperatures_lose_no_more_digits_than_the_dtype_has(dtype, t):
    """The divergence falls with T^2, to less than half precision tells of the logarithms; and T^2 may be too large."""
    z, v = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 3.0, 1.0]])
    log_p, log_q = (a / t - np.log(np.exp(a / t).sum()) for a in (z, v))
    loss, residuals = distillation.fwd(jnp.asarray(z, dtype), jnp.asarray(v, dtype), temperature=t)
    assert loss.dtype == dtype
    np.testing.assert_allclose(np.float32(loss), t**2 * (np.exp(log_q) * (log_q - log_p)).sum(-1), rtol=0.04)
    dz, dv = distillation.bwd(residuals, jnp.ones(1, dtype), temperature=t)
    np.testing.assert_allclose(np.float32(dz), t * (np.exp(log_p) - np.exp(log_q)), rtol=0.01)
    assert dz.dtype == dv.dtype == dtype


def test_a_temperature_may_be_swept():
    z, v = jnp.zeros((1, 3)), jnp.asarray([[2.0, 0.0, -1.0]])
    swept = jax.jit(jax.vmap(lambda t: distillation(z, v, temperature=t)))(jnp.asarray([1.0, 4.0]))
    np.testing.assert_allclose(swept[:, 0], [distillation(z, v, temperature=t)[0] for t in (1.0, 4.0)], rtol=1e-5)
    with pytest.raises(ValueError, match="expected temperature above 0, because logits are divided by it; got 0"):
        distillation(z, v, temperature=0.0)
    with pytest.raises(nn.ShapeError, match="expected prediction and target of one shape"):
        distillation(z, v[0])


def test_integer_logits_are_refused_for_a_temperature_would_be_cut(unannotated):
    z = jnp.zeros((1, 3), jnp.int32)
    with pytest.raises(TypeError, match=r"expected a floating or complex dtype, .*; got int32"):
        distillation(z, z, temperature=2.5)


def test_a_student_learns_what_an_ensemble_says(optimised):
    """Targets are a dict of the teacher's logits and the labels, as in the docstring."""
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(200, 5)).astype(np.float32))
    labels = jnp.asarray(random.integers(0, 3, size=200))
    teacher = nn.Ensemble(nn.serial(nn.Dense(16), nn.tanh, nn.Dense(3)), 5)
    params, state = teacher.init(jax.random.key(0), x)
    params = jax.tree.map(lambda p: 2 * p, params)
    v, _ = teacher.apply(params, state, x)
    data = nn.Data(x, {"teacher": v, "label": labels})

    def soft_and_hard(z, y):
        soft = distillation(z, y["teacher"], temperature=2.0)
        return 0.999 * soft + 0.001 * nn.losses.cross_entropy(z, y["label"])

    trainer = nn.trainer(nn.serial(nn.Dense(32), nn.tanh, nn.Dense(3)), soft_and_hard, nn.adam(0.02))
    begin = trainer.init(jax.random.key(1), x)
    end, _ = nn.fit(trainer, begin, data, epochs=60, batch_size=50)
    off = lambda ts: float(distillation(trainer.predict(ts, x), v, temperature=1.0).mean())
    assert off(end) < 0.03 * off(begin)
    assert (trainer.predict(end, x).argmax(-1) == v.argmax(-1)).mean() > 0.85
