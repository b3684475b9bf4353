"""Ops with an installed rule are differentiated in either mode, however it is asked for."""

import importlib
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops import attention, conv, gru, lstm, max_pool
from jaxnn.ops._rule import with_rule


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def recurrent(x):
    h, w_x, w_h = normal(2, 3, seed=2), 0.5 * normal(2, 12, seed=4), 0.5 * normal(3, 12, seed=5)
    y, _ = lstm(x, h, h, w_x, w_h, jnp.zeros(12))
    return gru(y, h, 0.5 * w_h[:, :9], 0.5 * w_h[:, 3:], jnp.ones(9), None)[0].sum()


FUNCTIONS = {
    "convolution": (lambda x: jnp.sin(conv(x, 0.3 * normal(3, 2, 3, seed=1))).sum(), (2, 5, 2)),
    "by weights": (lambda w: jnp.sin(conv(normal(2, 5, 2), w)).sum(), (3, 2, 3)),
    "pooling": (lambda x: (max_pool(x, window=2) ** 3).sum(), (2, 4, 2)),
    "attention": (lambda x: (attention(x, jnp.sin(x), jnp.cos(x), causal=True) ** 2).sum(), (2, 3, 1, 2)),
    "recurrence": (recurrent, (2, 3, 2)),
}


def looped(f):
    return lambda x: jax.lax.scan(lambda c, _: (c * jnp.cos(f(c * x)), None), jnp.ones(()), None, length=2)[0]


def derivatives(f, x):
    """Every way to ask for a derivative, in directions u and along the whole of x."""
    u = normal(*x.shape, seed=9)
    jvp = lambda f: lambda x: jax.jvp(f, (x,), (u,))[1]
    both = jnp.stack([x, u])
    return {
        "jvp": lambda: jvp(f)(x),
        "jvp of jit": lambda: jvp(jax.jit(f))(x),
        "jit of jvp": lambda: jax.jit(jvp(f))(x),
        "linearize": lambda: jax.linearize(f, x)[1](u),
        "transpose of linearize": lambda: jax.linear_transpose(jax.linearize(f, x)[1], x)(jnp.ones(())),
        "grad": lambda: jax.grad(f)(x),
        "jacfwd": lambda: jax.jit(jax.jacfwd(f))(x),
        "forward over reverse": lambda: jax.jit(jax.hessian(f))(x),
        "reverse over reverse": lambda: jax.jit(jvp(jax.grad(f)))(x),
        "reverse over forward": lambda: jax.jit(jax.grad(jvp(f)))(x),
        "forward over forward": lambda: jax.jit(jvp(jvp(f)))(x),
        "three times": lambda: jax.jit(jax.grad(jvp(jvp(f))))(x),
        "jvp of vmap": lambda: jax.jit(jvp(lambda x: jnp.cos(jax.vmap(f)(jnp.stack([x, x * u]))).sum()))(x),
        "vmap of jvp": lambda: jax.jit(jax.vmap(jvp(f)))(both),
        "grad of vmap": lambda: jax.jit(jax.grad(lambda x: jnp.cos(jax.vmap(f)(jnp.stack([x, x * u]))).sum()))(x),
        "vmap of grad": lambda: jax.jit(jax.vmap(jax.grad(f)))(both),
        "vmap of the transpose": lambda: jax.jit(jax.vmap(jax.vjp(f, x)[1]))(jnp.arange(3.0)),
        "jvp of scan": lambda: jax.jit(jvp(looped(f)))(x),
        "grad of scan": lambda: jax.jit(jax.grad(looped(f)))(x),
        "hessian of scan": lambda: jax.jit(jvp(jax.grad(looped(f))))(x),
        "jvp of checkpoint": lambda: jax.jit(jvp(jax.checkpoint(f)))(x),
        "grad of checkpoint": lambda: jax.jit(jax.grad(jax.checkpoint(f)))(x),
        "hessian of checkpoint": lambda: jax.jit(jvp(jax.grad(jax.checkpoint(f))))(x),
    }


WAYS = list(derivatives(FUNCTIONS["pooling"][0], jnp.zeros(1)))
THOROUGHLY = [("convolution", way) for way in WAYS] + [
    (name, way) for name in FUNCTIONS for way in ("jit of jvp", "jvp of scan", "reverse over forward")
]


@pytest.mark.parametrize(("name", "way"), dict.fromkeys(THOROUGHLY))
def test_every_derivative_is_that_of_the_plain_function(name, way, x64):
    f, shape = FUNCTIONS[name]
    x = normal(*shape)
    derivative = derivatives(f, x)[way]()
    with nn.plain():
        expected = derivatives(f, x)[way]()
    np.testing.assert_allclose(derivative, expected, rtol=1e-9, atol=1e-10)


def counted(calls):
    """A square of which each mode notes that it was asked, and reverse mode is wrong by a factor of 10."""

    def note(which, value):
        calls.append(which)
        return value

    return with_rule(
        lambda x: x * x,
        lambda x: note("fwd", (x * x, x)),
        lambda x, dy: note("bwd", (20 * x * dy,)),
        lambda arrays, tangents: note("along", 2 * arrays[0] * tangents[0]),
    )


def test_reverse_mode_uses_the_pair_and_forward_mode_does_not():
    calls = []
    square = counted(calls)
    assert jax.jit(square)(3.0) == 9
    assert calls == []
    assert jax.jit(jax.grad(square))(3.0) == 60
    assert calls == ["fwd", "bwd"]
    calls.clear()
    assert jax.jit(lambda x: jax.jvp(square, (x,), (1.0,))[1])(3.0) == 6
    assert set(calls) == {"fwd", "along"}


def test_an_argument_that_does_not_move_has_no_derivative_and_a_cotangent_of_none_is_zero():
    product = with_rule(
        lambda x, n, w: n * x * w,
        lambda x, n, w: (n * x * w, (n, w)),
        lambda residuals, dy: (residuals[0] * residuals[1] * dy, None, None),
        lambda arrays, tangents: arrays[1] * (tangents[0] * arrays[2] + arrays[0] * tangents[2]),
    )
    assert jax.jit(jax.grad(product))(2.0, 3, 5.0) == 15
    assert jax.jit(jax.grad(product, 2))(2.0, 3, 5.0) == 0
    assert jax.jit(lambda w: jax.jvp(lambda w: product(2.0, 3, w), (w,), (1.0,))[1])(5.0) == 6


def test_what_one_mode_does_not_need_is_not_in_its_program():
    """The residual is an exponential, and that of the plain function a logarithm."""
    f = with_rule(
        jnp.sin,
        lambda x: (jnp.sin(x), jnp.exp(x)),
        lambda e, dy: (e * dy,),
        lambda arrays, tangents: jnp.log(arrays[0]) * tangents[0],
    )
    total = lambda xs: jax.lax.scan(lambda c, x: (c + f(c * x), None), jnp.ones(()), xs)[0]
    reverse = jax.jit(jax.grad(total)).lower(jnp.ones(4)).compile().as_text()
    forward = jax.jit(lambda x: jax.jvp(total, (x,), (x,))[1]).lower(jnp.ones(4)).compile().as_text()
    assert [" exponential(" in str(program) for program in (reverse, forward)] == [True, False]
    assert [" log(" in str(program) for program in (reverse, forward)] == [False, True]


def test_an_argument_may_be_a_number_of_python_that_does_not_move():
    product = with_rule(
        lambda a, b: a * b,
        lambda a, b: (a * b, (a, b)),
        lambda residuals, dy: (residuals[1] * dy, residuals[0] * dy),
        lambda arrays, tangents: tangents[0] * arrays[1] + arrays[0] * tangents[1],
    )
    y, dy = jax.jvp(lambda b: product(2.0, b), (5.0,), (1.0,))
    assert (float(y), float(dy)) == (10.0, 2.0)


def test_the_precision_of_products_is_that_of_where_the_op_was_called():
    """Though JAX traces the backward when it transposes, and the map of tangents when it compiles."""
    x, w = normal(2, 3).astype(jnp.float32), normal(3, 2).astype(jnp.float32)

    def loss(w):
        with jax.default_matmul_precision("highest"):
            return nn.ops.linear(x, w).sum()

    for derivative in (jax.grad(loss), lambda w: jax.jvp(loss, (w,), (w,))[1]):
        assert "HIGHEST" in jax.jit(derivative).lower(w).as_text()


def test_sizes_may_be_symbols_where_a_program_is_exported(unannotated):
    export = importlib.import_module("jax.export")
    (b,) = export.symbolic_shape("b")
    like = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype)
    of_x = jax.jit(jax.grad(lambda x, w: nn.ops.linear(x, w).sum()))
    assert export.export(of_x)(like(b, 3), like(3, 2)).out_avals[0].shape == (b, 3)
    loss = jax.jit(lambda x, w, y: nn.losses.linear_cross_entropy(x, w, None, y))
    assert export.export(loss)(like(b, 3), like(3, 20), like(b, dtype=jnp.int32)).out_avals[0].shape == (b,)


ON_DEVICES = """
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import jaxnn as nn

jax.config.update("jax_num_cpu_devices", 2)
random = np.random.default_rng(0)
images, taps = random.normal(size=(4, 6, 2)).astype("f"), random.normal(size=(3, 2, 3)).astype("f")
x, w = random.normal(size=(4, 3)).astype("f"), random.normal(size=(3, 2)).astype("f")
for op, a, b in ((nn.ops.linear, x, w), (nn.ops.conv, images, taps)):
    loss = lambda b, a, op=op: jnp.sin(op(a, b)).mean()
    mean = lambda b, a: jax.lax.pmean(loss(b, a), "d")
    mesh = Mesh(np.array(jax.devices()), ("d",))
    shared = jax.shard_map(mean, mesh=mesh, in_specs=(P(), P("d")), out_specs=P())
    for derivative in (jax.grad, lambda f: lambda b, a: jax.jvp(lambda b: f(b, a), (b,), (b,))):
        got, expected = jax.jit(derivative(shared))(b, a), jax.jit(derivative(loss))(b, a)
        jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6), got, expected)

with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))) as mesh:
    rows = jax.device_put(x, P("d", None))
    got = jax.jit(jax.grad(lambda w: (nn.ops.linear(rows, w) ** 2).sum()))(w)
np.testing.assert_allclose(got, 2 * x.T @ (x @ w), rtol=1e-5)
print("shared")
"""


def test_a_rule_works_where_devices_share_a_batch():
    """With `jax.shard_map`, and with a sharding that is part of the types of arrays."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", ON_DEVICES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "shared\n", done.stderr
