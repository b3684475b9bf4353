"""What complex and integer leaves do: as optax treats them, or a clear error."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn import optim
from jaxnn.optim._norms import inner_product, leaf_norm, leaf_rms, total

OPTIMIZERS = {
    "sgd": (lambda: optim.sgd(0.1), lambda: optax.sgd(0.1)),
    "momentum": (lambda: optim.momentum(0.1), lambda: optax.sgd(0.1, 0.9)),
    "adam": (lambda: optim.adam(0.1), lambda: optax.adam(0.1)),
    "adagrad": (lambda: optim.adagrad(0.1), lambda: optax.adagrad(0.1)),
    "rmsprop": (lambda: optim.rmsprop(0.1), lambda: optax.rmsprop(0.1)),
}
each_optimizer = pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS.values(), ids=OPTIMIZERS)


# Links, which have no chain to check dtypes, and those that have a size of leaves or of trees in them.
MORE = {
    **{
        name: (getattr(optim, name)(*given), getattr(optax, name)(*given))
        for name, *given in [
            ("adabelief", 0.1), ("yogi", 0.1), ("adan", 0.1), ("novograd", 0.1), ("adamax", 0.1), ("radam", 0.1),
            ("clip_by_global_norm", 1.0), ("clip_by_block_rms", 1.0), ("adaptive_grad_clip", 0.1),
            ("normalize_by_update_norm",), ("scale_by_trust_ratio",), ("lars", 0.1), ("lamb", 0.1), ("fromage", 0.1),
            ("scale_by_param_block_rms",), ("scale_by_param_block_norm",),
        ]
    },
    **{
        name: (getattr(optim, name)(*given), getattr(optax.contrib, name)(*given))
        for name, *given in [("acprop", 0.1), ("normalize",), ("dowg",), ("dog", 1.0, ("learning_rate", 0.1))]
    },
}  # fmt: skip


def path(optimizer, params, grads, steps=3):
    state, seen = optimizer.init(params), []
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
        seen.append(updates)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *seen), state


@each_optimizer
def test_a_complex_leaf_is_treated_as_by_optax(ours, theirs, loose):
    params, grads = jnp.array([1.0 + 2.0j, -0.5j]), jnp.array([3.0 - 1.0j, 0.2 + 0.1j])
    (our_updates, our_state), (their_updates, their_state) = (path(make(), params, grads) for make in (ours, theirs))
    assert our_updates.dtype == jnp.complex64
    np.testing.assert_allclose(our_updates, their_updates, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(our_state), jax.tree.leaves(their_state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5)  # optax rounds 1 - 0.999 after the difference


@pytest.mark.parametrize(("ours", "theirs"), MORE.values(), ids=MORE)
def test_the_size_of_a_complex_leaf_is_real_and_that_of_optax(ours, theirs, loose):
    params = {"z": jnp.array([[1.0 + 2.0j, -0.5j], [0.3, -2.0 + 1.0j]]), "x": jnp.array([1.0, -2.0])}
    grads = {"z": jnp.array([[3.0 - 1.0j, 0.2 + 0.1j], [-1.0j, 0.5]]), "x": jnp.array([0.5, 1.0])}
    updates, state = path(ours, params, grads)
    for name, expected in path(theirs, params, grads)[0].items():
        assert updates[name].dtype == params[name].dtype
        np.testing.assert_allclose(updates[name], expected, rtol=2e-5)  # optax rounds 1 - 0.999 after the difference
    assert jax.tree.map(lambda leaf: leaf.dtype, state) == jax.tree.map(lambda leaf: leaf.dtype, ours.init(params))


@pytest.mark.parametrize(
    "size",
    [
        optim.global_norm,
        lambda z: inner_product(z, z) ** 0.5,
        lambda z: leaf_norm(z, 0.0),
        lambda z: leaf_rms(z, 0.0),
        total,
        lambda z: optim.unitwise_norm(z)[0],
    ],
    ids=["global_norm", "inner_product", "leaf_norm", "leaf_rms", "total", "unitwise_norm"],
)
def test_the_size_of_a_complex_number_is_its_absolute_value(size):
    found = size(jnp.array([3.0 - 4.0j]))
    assert (float(found), found.dtype) == (5.0, jnp.float32)


REAL_ONLY = {
    "sm3": optim.sm3(0.1),
    "muon": optim.muon(0.1),
    "scale_by_muon": optim.scale_by_muon(),
    "galore": optim.galore(0.1),
    "adafactor": optim.adafactor(0.1),
    "scale_by_factored_rms": optim.scale_by_factored_rms(),
    "simplified_ademamix": optim.simplified_ademamix(0.1),
    "adadelta": optim.adadelta(0.1),
    "prodigy": optim.prodigy(),
    "dadapt_adamw": optim.dadapt_adamw(),
    "mechanize": optim.mechanize(optim.sgd(0.1)),
    "adopt": optim.adopt(0.1),
    "madgrad": optim.madgrad(0.1),
    "rprop": optim.rprop(0.1),
    "cocob": optim.cocob(),
    "momo": optim.momo(),
    "momo_adam": optim.momo_adam(),
    "sophia": optim.sophia(0.1),
    "clip": optim.clip(1.0),
}


@pytest.mark.parametrize("optimizer", REAL_ONLY.values(), ids=REAL_ONLY)
def test_a_complex_leaf_is_refused_where_it_has_no_meaning(optimizer):
    message = r"expected real gradients .*; got complex64\n  hint: split_real_and_imaginary\(optimizer\)"
    z = jnp.array([[1.0 + 2.0j, -0.5j], [0.3, -2.0 + 1.0j]])
    optimizer = optax.with_extra_args_support(optimizer)
    with pytest.raises(TypeError, match=message):
        optimizer.update(z, optimizer.init(z), z, value=jnp.array(1.0), obj_fn=lambda z: jnp.abs(z).sum())


@pytest.mark.parametrize("search", [optim.scale_by_backtracking_linesearch(20), optim.scale_by_zoom_linesearch(20)])
def test_lbfgs_descends_a_function_of_complex_numbers(search):
    """JAX's gradient is the conjugate of the direction of ascent, in the slope of a search too."""
    goal, scale = jnp.array([1.0 + 2.0j, -0.5j]), jnp.array([1.0, 4.0])
    f = lambda z: (scale * jnp.abs(z - goal) ** 2).sum()
    optimizer = optim.lbfgs(linesearch=search)

    def step(carry, _):
        z, state = carry
        value, grad = jax.value_and_grad(f)(z)
        updates, state = optimizer.update(grad.conj(), state, z, value=value, grad=grad, value_fn=f)
        return (z + updates, state), value

    z = jnp.zeros(2, complex)
    (z, _), _ = jax.jit(lambda z: jax.lax.scan(step, (z, optimizer.init(z)), length=15))(z)
    np.testing.assert_allclose(z, goal, atol=1e-3)


@each_optimizer
def test_an_integer_leaf_is_refused(ours, theirs):
    """optax turns it into a floating one."""
    del theirs
    message = (
        r"expected gradients of floating or complex dtypes, because .*; got int32 for a/n\n  hint: what is counted"
    )
    params = {"a": {"n": jnp.array([3, -2]), "w": jnp.ones(2)}}
    with pytest.raises(TypeError, match=message):
        path(ours(), params, params, 1)


def test_a_link_by_itself_refuses_an_integer_leaf_too():
    with pytest.raises(TypeError, match=r"expected a floating or complex dtype, because means .*; got int32"):
        path(optim.scale_by_adam(), jnp.array([3, -2]), jnp.array([1, 4]), 1)


ADAM = {"complex64": jnp.array([1.0 + 2.0j, -0.5j]), "float32": jnp.array([1.0, -0.5]), "none": None}


def test_split_into_real_and_imaginary_parts_it_is_that_of_optax(loose):
    grads = jax.tree.map(lambda p: 2 * p + 1, ADAM)
    ours, theirs = (
        path(split(optax.adam(0.1)), ADAM, grads)
        for split in (optim.split_real_and_imaginary, optax.contrib.split_real_and_imaginary)
    )
    assert {name: str(leaf.dtype) for name, leaf in ours[0].items() if leaf is not None} == {
        name: name for name in ("complex64", "float32")
    }
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_split_leaves_take_the_path_of_their_parts_and_keep_their_dtype_through_a_scan():
    z = jnp.array([1.0 + 2.0j, -0.5j])
    (updates, _), (parts, _) = (
        path(optimizer, params, params)
        for optimizer, params in (
            (optim.split_real_and_imaginary(optim.adam(0.1)), z),
            (optim.adam(0.1), {"real": z.real, "imaginary": z.imag}),
        )
    )
    np.testing.assert_allclose(updates, parts["real"] + 1j * parts["imaginary"], rtol=1e-6)

    split = optim.split_real_and_imaginary(optim.adam(0.1))
    step = lambda state, _: split.update(z, state, z)[::-1]
    last, seen = jax.eval_shape(lambda state: jax.lax.scan(step, state, length=2), split.init(z))
    assert (seen.dtype, last) == (jnp.complex64, jax.eval_shape(lambda: split.init(z)))


def test_split_hands_other_arguments_on_and_needs_no_parameters():
    z = jnp.array(2.0 + 0.0j)
    momo = optim.split_real_and_imaginary(optim.momo())
    assert complex(momo.update(2 * z, momo.init(z), z, value=jnp.array(4.0))[0]) == -1.0
    sgd = optim.split_real_and_imaginary(optim.sgd(0.5))
    assert complex(sgd.update(z, sgd.init(z))[0]) == -1.0


def test_vmap_over_a_hyperparameter_of_what_is_split_equals_a_loop():
    z = jnp.array(3.0 - 4.0j)

    def step(rate):
        optimizer = optim.split_real_and_imaginary(optim.adam(rate))
        return optimizer.update(z, optimizer.init(z), z)[0]

    rates = jnp.array([0.1, 0.2])
    np.testing.assert_allclose(jax.vmap(step)(rates), [step(rate) for rate in rates], rtol=1e-6)
