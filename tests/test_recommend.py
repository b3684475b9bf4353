"""The end of a model for each task, and that it trains with the loss it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import losses

ENDS = {
    "binary": (("binary",), 1, nn.sigmoid, "binary_cross_entropy"),
    "multiclass": (("multiclass", 10), 10, nn.softmax, "cross_entropy"),
    "multiclass of two": (("multiclass", 2), 2, nn.softmax, "cross_entropy"),
    "multilabel": (("multilabel", 4), 4, nn.sigmoid, "binary_cross_entropy"),
    "regression": (("regression",), 1, nn.identity, "mse"),
    "regression of three": (("regression", 3), 3, nn.identity, "mse"),
    "robust_regression": (("robust_regression",), 1, nn.identity, "huber_loss"),
    "counts": (("counts",), 1, jnp.exp, "poisson_nll_from_log_rate"),
    "positive": (("positive",), 1, jnp.exp, "gamma_nll_from_log_mean"),
    "margin": (("margin",), 1, nn.step.bind(low=-1.0), "hinge_loss"),
    "similarity": (("similarity", 3), 3, nn.identity, "cosine_proximity"),
}


@pytest.mark.parametrize(("asked", "units", "activation", "loss"), ENDS.values(), ids=ENDS)
def test_ACT_16_and_LOSS_20_what_a_task_ends_with(asked, units, activation, loss):
    """Row 11 of section 28 is among them: 10 classes, 10 units."""
    assert nn.recommend(*asked) == (units, activation, getattr(losses, loss))


TARGETS = {
    "binary": (None, np.array([[0.0], [1.0]])),
    "multiclass": (3, np.array([0, 2])),
    "multilabel": (3, np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])),
    "regression": (2, np.array([[-3.0, 1.0], [0.5, 40.0]])),
    "robust_regression": (None, np.array([[-3.0], [0.5]])),
    "counts": (None, np.array([[0.0], [3.0]])),
    "positive": (None, np.array([[0.2], [3.0]])),
    "margin": (None, np.array([[-1.0], [1.0]])),
    "similarity": (2, np.array([[0.6, 0.8], [-1.0, 0.0]])),
}


@pytest.mark.parametrize("task", TARGETS)
def test_a_loss_pulls_the_read_outputs_to_the_targets(task):
    """The loss is of logits: were it of what is read out, its gradient would be another."""
    n, targets = TARGETS[task]
    targets = jnp.asarray(targets, jnp.int32 if task == "multiclass" else jnp.float32)
    units, activation, loss = nn.recommend(task, n)
    z = 0.1 * jnp.ones((2, 1)) * jnp.arange(1.0, units + 1)[None]
    dz = jax.jit(jax.grad(lambda z: loss(z, targets).sum()))
    for _ in range(200):
        z = z - 0.2 * dz(z)
    read = activation(z)
    if task == "multiclass":
        assert read.argmax(-1).tolist() == targets.tolist()
    elif task == "similarity":
        np.testing.assert_allclose(read / jnp.linalg.norm(read, axis=-1, keepdims=True), targets, atol=0.05)
    elif task in ("binary", "multilabel"):
        np.testing.assert_array_equal(read > 0.5, targets == 1)
        # The derivative of a sigmoid and its loss: probability minus target.
        np.testing.assert_allclose(dz(z), read - targets, atol=1e-6)
    else:
        np.testing.assert_allclose(read, targets, atol=0.1)


def test_28_14_a_probability_of_one_half_is_an_output_of_zero():
    """Section 28, row 14: the threshold is 0.5 of the probability, and so 0 of the logit."""
    _, activation, _ = nn.recommend("binary")
    z = jnp.array([-1e-3, 0.0, 1e-3])
    np.testing.assert_array_equal(activation(z) > 0.5, nn.step(z) == 1)
    assert activation(z)[1] == 0.5


def test_E_12_a_regression_can_put_out_negative_numbers():
    _, activation, _ = nn.recommend("regression")
    assert activation is not nn.relu
    assert activation(jnp.array([-3.5])) == -3.5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("classification", 3), r"expected task to be one of binary, multiclass, .*; got 'classification'"),
        (("multiclass",), r"expected n_classes to be 2 or more, because .* of multiclass; got None"),
        (("multiclass", 1), r"expected n_classes to be 2 or more, .*; got 1"),
        (("multilabel",), r"expected n_classes to be 1 or more, .*; got None"),
        (("binary", 3), r"expected n_classes to be 2, because .* of binary; got 3"),
        (("regression", 0), r"expected n_classes to be 1 or more, .*; got 0"),
    ],
)
def test_what_is_no_task_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        nn.recommend(*asked)


@pytest.mark.parametrize("n", [10.0, True, "10"])
def test_a_number_of_classes_is_an_int(n, unannotated):
    with pytest.raises(TypeError, match=r"^expected n_classes to be an int, because units are counted; got .*$"):
        nn.recommend("multiclass", n)
    assert nn.recommend("multiclass", np.int64(10)).units == 10
