"""Attention by cuDNN's kernel, which runs nowhere but on a GPU of NVIDIA: here programs are lowered for one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.cudnn import fused_attention_stablehlo  # no public name leads to what JAX asks of the machine

from jaxnn.ops import _attention_cudnn as cudnn
from jaxnn.ops import attention

BATCH, TIME, HEADS = 2, 8, 4


def arrays(memory=TIME, *, features=16, dtype=jnp.bfloat16):
    random = np.random.default_rng(0)
    shapes = [(BATCH, TIME, HEADS, features), *[(BATCH, memory, 2, features)] * 2]
    return [jnp.asarray(random.normal(size=shape)).astype(dtype) for shape in shapes]


def by_hand(q, k, v, **settings):
    y, residuals = attention.fwd(q, k, v, **settings)
    return y, attention.bwd(residuals, jnp.ones_like(y), **settings)


def by_jax(q, k, v, **settings):
    return jax.vjp(lambda *a: attention(*a, **settings), q, k, v)[1](jnp.ones_like(q))


@pytest.fixture
def a_gpu_is_there(monkeypatch):
    """What JAX asks of the machine before it traces the kernel is answered as on a GPU of Hopper."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused_attention_stablehlo, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(fused_attention_stablehlo, "is_cuda_compute_capability_equal", lambda capability: False)


def lowered(platform, compute, *given):
    return jax.jit(compute).trace(*given).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("road", [by_hand, by_jax])
def test_on_cuda_the_kernel_of_cudnn_computes_both_ways_and_elsewhere_it_does_not(causal, road, a_gpu_is_there):
    both_ways = functools.partial(road, causal=causal)
    on_cuda = lowered("cuda", both_ways, *arrays())
    assert "fmhaSoftmax" in on_cuda
    assert "fmhaSoftmaxBackward" in on_cuda
    assert "fmha" not in lowered("cpu", both_ways, *arrays())


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": jnp.float32},
        {"mask": True},
        {"features": 12},
        {"features": 136},
        {"memory": 9, "causal": True},
        {"scale": True},
    ],
    ids=str,
)
def test_what_the_kernel_does_not_take_is_computed_by_blocks(changed, a_gpu_is_there):
    q, k, v = arrays(**{name: changed[name] for name in ("features", "dtype", "memory") if name in changed})
    mask = jnp.ones((BATCH, TIME), bool) if "mask" in changed else None
    scale = jnp.asarray(0.5, q.dtype) if "scale" in changed else None
    run = lambda *a: attention.fwd(*a, mask, causal="causal" in changed, scale=scale)[0]
    assert "fmha" not in lowered("cuda", run, q, k, v)


def test_without_a_gpu_the_kernel_is_not_asked_for():
    assert "fmha" not in lowered("cpu", by_hand, *arrays())


@pytest.mark.parametrize("causal", [False, True])
def test_what_is_asked_of_the_kernel_is_attention(causal, monkeypatch, loose):
    """The same call, by JAX's products in place of cuDNN's."""
    by_products = jax.nn.dot_product_attention

    def products_in_its_place(*arrays, implementation, **settings):
        assert implementation == "cudnn"
        return by_products(*arrays, **settings)

    monkeypatch.setattr(jax.nn, "dot_product_attention", products_in_its_place)
    q, k, v = arrays()
    expected = attention.fwd(q, k, v, causal=causal, scale=0.3)
    y, log_sum = cudnn.forward(q, k, v, causal=causal, scale=0.3)
    np.testing.assert_allclose(y.astype(jnp.float32), expected[0].astype(jnp.float32), atol=0.02)
    assert log_sum.shape == expected[1].log_sum.shape
    dy = jnp.ones_like(y)
    theirs = attention.bwd(expected[1], dy, causal=causal, scale=0.3)
    for a, b in zip(cudnn.backward(q, k, v, y, log_sum, dy, causal=causal, scale=0.3), theirs, strict=False):
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), atol=0.06)


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="the kernel runs on a GPU")
@pytest.mark.parametrize("causal", [False, True])
def test_on_a_gpu_the_kernel_gives_what_blocks_give_in_float32(causal):
    exact = by_hand(*(a.astype(jnp.float32) for a in arrays()), causal=causal)
    for a, b in zip(jax.tree.leaves(by_hand(*arrays(), causal=causal)), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.06)
