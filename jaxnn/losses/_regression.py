"""Losses of numbers: how far a prediction is from its target.

Dimensions: `shape` any shape, of which the first axis is that of examples.
"""

from jaxtyping import Float

from jaxnn.losses._shapes import check_same_shape
from jaxnn.ops._op import op
from jaxnn.typing import Array


@op(check_same_shape)
def mse(prediction: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squared error of each element, l = (prediction - target)^2, whose mean is the mean squared error.

    There is no factor 1/2: optax's `l2_loss` and many textbooks have one. Equal to optax's
    `squared_error`; Keras takes the mean over the last axis, PyTorch over all.

    Raises:
        ShapeError: The shapes differ.

    >>> mse(jnp.array([1.5, 2.0, 5.0]), jnp.array([1.0, 2.0, 3.0]))
    Array([0.25, 0.  , 4.  ], dtype=float32)

    Source: Gauss, "Theoria motus" (1809).
    """
    e = prediction - target
    return e * e


def mse_fwd(prediction, target):
    """Remember the error e = prediction - target."""
    e = prediction - target
    return e * e, e


def mse_bwd(e, dl):
    """dl/de = 2 e, and e grows with the prediction and falls with the target."""
    d_prediction = 2 * e * dl
    return d_prediction, -d_prediction


mse.defvjp(mse_fwd, mse_bwd)
