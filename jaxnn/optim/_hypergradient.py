"""Learning rates that descend the loss themselves, by its derivative with respect to them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._arithmetic import cast_like, ratio, scaled
from jaxnn.optim._checks import check_decay, check_number
from jaxnn.optim._norms import global_norm, inner_product, number_dtype
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar


class HypergradientDescentState(NamedTuple):
    """State of `hypergradient_descent` and `multiplicative_hypergradient_descent`."""

    learning_rate: Array  # lr_t, shape (), float32 at least
    direction: Any  # d_t, like the parameters
    inner_state: Any  # of what gives the direction


def hypergradient_descent(
    direction: Optimizer, learning_rate: Scalar, hyper_learning_rate: Scalar
) -> optax.GradientTransformationExtraArgs:
    """Descend with a learning rate that descends too, lr <- lr + beta g_t . d_{t-1}, p <- p - lr d_t.

    The loss after the last step is L(p_{t-1} - lr d_{t-1}), whose derivative with respect to lr is -g_t . d_{t-1}. So
    the rate grows while directions agree with the gradients that follow them, and falls when a step went too far. It
    costs one inner product a step and remembers one direction.

    Args:
        direction: What makes d of g, without a learning rate of its own: `identity()` for gradient descent,
            `trace(0.9)` for the heavy ball, `trace(0.9, nesterov=True)`, `scale_by_adam()`.
        learning_rate: lr before the first step, which it is taken with: there is no direction before that.
        hyper_learning_rate: beta. With 0 the rate stays as it is. The product g . d has the scale of the loss and of
            the number of parameters: the paper's are of the order of 1e-3 for gradient descent and 1e-7 for Adam. If
            it is too large the rate itself diverges, and may fall below 0, where steps ascend until it has grown again.

    Raises:
        ValueError: `learning_rate` or `hyper_learning_rate` is a number below 0, or NaN.

    >>> from jaxnn.optim import identity
    >>> import jax.numpy as jnp
    >>> optimizer, x = hypergradient_descent(identity(), 0.125, 0.0625), jnp.array(2.0)
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> x = x + updates
    >>> _, state = optimizer.update(2 * x, state, x)
    >>> x, state.learning_rate
    (Array(1.5, dtype=float32), Array(0.875, dtype=float32))

    Source: Baydin, Cornish, Rubio, Schmidt and Wood, "Online learning rate adaptation with hypergradient descent"
    (2018), algorithms 4 to 6.
    """
    _check(learning_rate, hyper_learning_rate)

    def adapted(lr: Array, g: Any, d: Any) -> Array:
        return lr + jnp.asarray(hyper_learning_rate, lr.dtype) * inner_product(g, d).astype(lr.dtype)

    return _descent(direction, learning_rate, adapted)


def multiplicative_hypergradient_descent(
    direction: Optimizer, learning_rate: Scalar, hyper_learning_rate: Scalar
) -> optax.GradientTransformationExtraArgs:
    """Descend with a learning rate that changes in proportion, lr <- lr (1 + beta g_t . d_{t-1} / (|g_t| |d_{t-1}|)).

    What multiplies beta is the cosine between the gradient and the last direction, from -1 to 1, so that beta does not
    depend on the scale of the loss, and the rate stays above 0. It stays as it is where one of the two is 0. See
    `hypergradient_descent` for the additive rule.

    Args:
        direction: What makes d of g, without a learning rate of its own.
        learning_rate: lr before the first step, which it is taken with.
        hyper_learning_rate: beta, the most by which the rate changes in a step: 0.02 is 2 percent. A tracer of 1 or
            more may turn the sign of the rate.

    Raises:
        ValueError: `learning_rate` is a number below 0, or `hyper_learning_rate` one that is not from 0 to below 1.

    >>> from jaxnn.optim import identity
    >>> import jax.numpy as jnp
    >>> optimizer, x = multiplicative_hypergradient_descent(identity(), 0.125, 0.5), jnp.array(2.0)
    >>> updates, state = optimizer.update(2 * x, optimizer.init(x), x)
    >>> x = x + updates
    >>> optimizer.update(2 * x, state, x)[1].learning_rate
    Array(0.1875, dtype=float32)

    Source: Baydin, Cornish, Rubio, Schmidt and Wood, "Online learning rate adaptation with hypergradient descent"
    (2018).
    """
    _check(learning_rate, None)
    check_decay("a rate must keep its sign", hyper_learning_rate=hyper_learning_rate)

    def adapted(lr: Array, g: Any, d: Any) -> Array:
        # The root of each, for the product of both squares leaves the range of float32 sooner.
        cosine = ratio(inner_product(g, d), global_norm(g) * global_norm(d)).astype(lr.dtype)
        return lr * (1 + jnp.asarray(hyper_learning_rate, lr.dtype) * cosine)

    return _descent(direction, learning_rate, adapted)


def _descent(
    direction: Optimizer, learning_rate: Scalar, adapted: Callable[[Array, Any, Any], Array]
) -> optax.GradientTransformationExtraArgs:
    """Step along -lr d_t, with lr adapted to the gradient g_t and the direction d_{t-1} before."""
    inner = optax.with_extra_args_support(direction)

    def init(params):
        lr = jnp.array(learning_rate, number_dtype(params))  # in bfloat16 it would stand still
        zeros = jax.tree.map(jnp.zeros_like, params)
        return HypergradientDescentState(lr, zeros, inner.init(params))

    def update(updates, state, params=None, **extra):
        lr = adapted(state.learning_rate, updates, state.direction)  # d_0 is 0: the first step leaves it as it is
        d, inner_state = inner.update(updates, state.inner_state, params, **extra)
        new = HypergradientDescentState(lr, cast_like(d, state.direction), inner_state)
        return jax.tree.map(lambda d: -scaled(lr, d), d), new

    return optax.GradientTransformationExtraArgs(init, update)


def _check(learning_rate: Scalar, hyper_learning_rate: Scalar | None) -> None:
    check_number("it is the length of a step", learning_rate=learning_rate)
    check_number("a rate moves against its gradient", hyper_learning_rate=hyper_learning_rate)
