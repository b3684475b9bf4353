"""The step, whose derivative is 0, and the surrogates by which networks of steps are trained all the same.

Dimensions: `...` any shape.
"""

from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.ops._op import op
from jaxnn.ops._sigmoids import finite
from jaxnn.typing import AnyArray, Array, Scalar

Surrogate: TypeAlias = Literal["straight_through", "clipped", "sigmoid"]


def _check_surrogate(x: AnyArray, *, surrogate: Surrogate | None = None, **levels: Scalar) -> None:
    del x, levels
    if surrogate is not None and surrogate not in get_args(Surrogate):
        raise ValueError(
            f"expected surrogate to be None or one of {', '.join(get_args(Surrogate))}, because these are what "
            f"there is; got {surrogate!r}"
        )


@op(_check_surrogate)
def step(
    x: Float[Array, "..."],
    *,
    low: Scalar = 0.0,
    high: Scalar = 1.0,
    threshold: Scalar = 0.0,
    surrogate: Surrogate | None = None,
) -> Float[Array, "..."]:
    """Binary step, y = high if x > threshold else low; at the threshold itself, low.

    Its derivative is 0, so nothing below it learns; that, not the jump, is why it is no use in hidden layers. A
    surrogate leaves y as it is and puts the derivative of another function of t = x - threshold in its place,
    times high - low:

    ==================  ==================================  ==============================================
    `surrogate`         in place of the step                its derivative
    ==================  ==================================  ==============================================
    `None`              the step                            0
    "straight_through"  t                                   1
    "clipped"           min(max(t + 1, 0), 2) / 2           1/2 where -1 < t < 1; for levels -1 and 1, 1
    "sigmoid"           s(t)                                s(t) (1 - s(t))
    ==================  ==================================  ==============================================

    Args:
        x: Any shape.
        low: Value below; -1 with high 1 gives the sign, but for 0.
        high: Value above.
        threshold: Where it jumps. It may be swept, as the levels may.
        surrogate: What stands in for the derivative.

    Returns:
        The shape of x. NaN stays NaN. (JAX's and NumPy's `heaviside` leave the value at 0 to you.)

    Raises:
        ValueError: There is no such surrogate.

    >>> step(jnp.array([-1.0, 0.0, 1.0])), step(jnp.array([-1.0, 0.0, 1.0]), low=-1, threshold=-0.5)
    (Array([0., 0., 1.], dtype=float32), Array([-1.,  1.,  1.], dtype=float32))
    >>> _, residuals = step.fwd(jnp.array([-2.0, 0.5]), surrogate="clipped")
    >>> step.bwd(residuals, jnp.ones(2), surrogate="clipped")
    (Array([0. , 0.5], dtype=float32),)

    Source: McCulloch and Pitts, "A logical calculus of the ideas immanent in nervous activity" (1943);
    "straight_through", Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic
    neurons" (2013); "clipped", Hubara et al., "Binarized neural networks" (2016); "sigmoid", as one of
    several, Neftci, Mostafa and Zenke, "Surrogate gradient learning in spiking neural networks" (2019).
    """
    low, high = jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype)
    above = x > jnp.asarray(threshold, x.dtype)
    y = jnp.where(jnp.isnan(x), lax.stop_gradient(x), jnp.where(above, high, low))
    if surrogate is None:
        return y
    # 0, with the derivative of the stand-in. No infinity is to meet itself.
    stand_in = _STAND_INS[surrogate][0](finite(x - jnp.asarray(threshold, x.dtype)))
    return y + (high - low) * (stand_in - lax.stop_gradient(stand_in))


def step_fwd(x, *, low=0.0, high=1.0, threshold=0.0, surrogate=None):
    """Remember nothing, for 0 is 0 everywhere; with a surrogate, x."""
    y = step.plain(x, low=low, high=high, threshold=threshold, surrogate=surrogate)
    return y, None if surrogate is None else x


def step_bwd(x, dy, *, low=0.0, high=1.0, threshold=0.0, surrogate=None):
    """dy/dx = (high - low) times the derivative of the stand-in, but 0 at an infinity; 0 without one."""
    if surrogate is None:
        return (jnp.zeros_like(dy),)
    t = x - jnp.asarray(threshold, x.dtype)
    slope = jnp.where(jnp.isinf(t), 0, _STAND_INS[surrogate][1](t))
    return (dy * (jnp.asarray(high, x.dtype) - jnp.asarray(low, x.dtype)) * slope,)


step.defvjp(step_fwd, step_bwd)

# Each with its derivative.
_STAND_INS = {
    "straight_through": (lambda t: t, jnp.ones_like),
    "clipped": (
        lambda t: jnp.where(jnp.abs(t) < 1, (t + 1) / 2, lax.stop_gradient(t)),
        lambda t: jnp.where(jnp.abs(t) < 1, 0.5, 0).astype(t.dtype),
    ),
    "sigmoid": (lax.logistic, lambda t: lax.logistic(t) * (1 - lax.logistic(t))),
}
