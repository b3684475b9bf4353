"""Implicit differentiation: the hypergradient at a minimum, whatever way led there."""

from collections.abc import Callable
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.optim import global_norm
from jaxnn.optim._arithmetic import ratio
from jaxnn.optim._checks import check_number
from jaxnn.optim._norms import inner_product
from jaxnn.search._hypergradient import number, numbers
from jaxnn.training._checks import count
from jaxnn.training._compiled import compiled, transforming
from jaxnn.typing import Array, Scalar

Loss = Callable[[Any, Any], Any]
"""A number of parameters and hyperparameters."""


class ImplicitHypergradient(NamedTuple):
    """A hypergradient by the implicit function theorem, and by what to judge whether it holds.

    >>> import jaxnn as nn
    >>> training = lambda w, h: (w - 2.0) ** 2 + h * w**2
    >>> found = nn.search.implicit_hypergradient(training, lambda w, h: w**2, 1.0, 1.0)
    >>> found.gradient_norm, found.residual
    (Array(0., dtype=float32), Array(0., dtype=float32))
    """

    value: Array  # of the validation loss, shape ()
    grads: Any  # of it by the hyperparameters, like these
    gradient_norm: Array  # of the training loss by the parameters: 0 at a minimum; shape ()
    residual: Array  # |H q - g| / |g| of the system that was solved, shape ()
    steps: Array  # of conjugate gradients, shape (), int32


def implicit_hypergradient(
    training_loss: Loss,
    validation_loss: Loss,
    params: Any,
    hyperparameters: Any,
    *,
    damping: Scalar = 0.0,
    tolerance: Scalar = 1e-6,
    max_steps: SupportsIndex = 100,
) -> ImplicitHypergradient:
    """Return the gradient of a validation loss by hyperparameters of the training loss that w has minimised.

    At w*(h), where the gradient of the training loss L(w, h) is 0, it stays 0 as h changes: H dw*/dh + d2L/dw dh = 0,
    with the Hessian H = d2L/dw2. So for the validation loss V(w, h)

        dV(w*(h), h)/dh = dV/dh - q . d2L/dw dh,   H q = dV/dw

    The system is solved by conjugate gradients, each step one product of H with a vector: nothing of the run is
    remembered, neither time nor memory depend on how long it was, and it does not matter what optimizer ran. What holds
    only of the run, such as its learning rate, has no such gradient: for these there is `hypergradient`.

    It holds at a minimum, which `gradient_norm` tells, of a smooth loss with a Hessian that is positive definite; a
    small L2 penalty makes it so where it is flat, and `damping` where it is not.

    Args:
        training_loss: L, of parameters and hyperparameters: a number, the penalty in it. Its ops, layers in training
            included, may be those with hand-written rules.
        validation_loss: V, of the same two.
        params: w*, from a run until convergence, such as `nn.minimize`. Arrays or any tree of them, real and floating.
        hyperparameters: h, a number or any tree of them, real and floating: strengths of penalties, weights of
            examples.
        damping: Added to the diagonal of H: at least 0, and with more than 0 the gradient is shrunk towards dV/dh.
        tolerance: For |H q - g| / |g|, where the solver stops.
        max_steps: After how many steps it stops anyway. In exact arithmetic it needs at most as many as there are
            different eigenvalues of H.

    Returns:
        The value and the gradient, with the norm of the training loss's gradient, the relative residual and the steps.

    Raises:
        TypeError: A leaf is not real and floating, or a loss gives integers; `max_steps` is no int.
        ValueError: `max_steps` is below 1, `damping` or `tolerance` a number below 0; or the solver met a direction in
            which the training loss does not curve upwards, so this is no minimum with one. Within `jit` and `vmap`,
            where that cannot be seen, the gradient is NaN.
        ShapeError: A loss gives no single number.

    >>> import jaxnn as nn
    >>> training = lambda w, h: (w - 2.0) ** 2 + h * w**2  # w* = 2 / (1 + h)
    >>> nn.search.implicit_hypergradient(training, lambda w, h: w**2, 1.0, 1.0).grads  # of 4 / (1 + h)^2
    Array(-1., dtype=float32)

    Source: Bengio, "Gradient-based optimization of hyperparameters" (2000); Pedregosa, "Hyperparameter optimization
    with approximate gradient" (2016), for conjugate gradients; Lorraine, Vicol and Duvenaud, "Optimizing millions of
    hyperparameters by implicit differentiation" (2020).
    """
    max_steps = count(max_steps, "max_steps", why="there is no gradient without one")
    check_number("it is added to the curvature", damping=damping)
    check_number("a norm is compared with it", tolerance=tolerance)
    params, hyperparameters = numbers(params, "params"), numbers(hyperparameters, "hyperparameters")
    static = training_loss, validation_loss, max_steps
    found = _implicit_hypergradient(static, params, hyperparameters, damping, tolerance)
    if not transforming() and bool(jnp.isnan(found.residual)):
        raise ValueError(
            "expected params at a minimum of the training loss, with upward curvature in every direction, because only "
            "there the parameters are a function of hyperparameters; got a direction without, or NaN\n"
            "  hint: train to convergence; a small L2 penalty, or damping=1e-3, where the loss is flat"
        )
    return found


@compiled
def _implicit_hypergradient(
    static: tuple[Loss, Loss, int], params: Any, hyperparameters: Any, damping: Scalar, tolerance: Scalar
) -> ImplicitHypergradient:
    training_loss, validation_loss, max_steps = static
    L = lambda w, h: number(training_loss(w, h), "the training loss")
    V = lambda w, h: number(validation_loss(w, h), "the validation loss")
    value, (g, direct) = jax.value_and_grad(V, (0, 1))(params, hyperparameters)
    # Reverse mode over reverse mode: the Hessian is symmetric, and rules that are installed are for it.
    slope, pullback = jax.vjp(jax.grad(L), params, hyperparameters)

    def curvature(q: Any) -> Any:
        return jax.tree.map(lambda Hq, q: Hq + jnp.asarray(damping, q.dtype) * q, pullback(q)[0], q)

    q, residual, steps = _conjugate_gradients(curvature, g, tolerance, max_steps)
    grads = jax.tree.map(jnp.subtract, direct, pullback(q)[1])
    return ImplicitHypergradient(value, grads, global_norm(slope), residual, steps)


def _conjugate_gradients(
    A: Callable[[Any], Any], b: Any, tolerance: Scalar, max_steps: int
) -> tuple[Any, Array, Array]:
    """Solve A x = b for a symmetric, positive definite A, and return x, |A x - b| / |b| and how many steps it took.

    Where p . A p is not positive A is not definite, and x and the residual are NaN.

    Source: Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952).
    """
    norm = inner_product(b, b)
    enough = jnp.square(jnp.asarray(tolerance, norm.dtype)) * norm
    add = lambda x, a, p: jax.tree.map(lambda x, p: x + a.astype(x.dtype) * p, x, p)

    def goes_on(carry):
        *_, rr, k = carry
        return (rr > enough) & (k < max_steps)  # not if rr is NaN

    def step(carry):
        x, r, p, rr, k = carry
        Ap = A(p)
        curve = inner_product(p, Ap)
        alpha = jnp.where(curve > 0, ratio(rr, curve), jnp.nan)
        x, r = add(x, alpha, p), add(r, -alpha, Ap)
        before, rr = rr, inner_product(r, r)
        return x, r, add(r, ratio(rr, before), p), rr, k + 1

    zero = jax.tree.map(jnp.zeros_like, b)
    x, _, _, rr, k = lax.while_loop(goes_on, step, (zero, b, b, norm, jnp.zeros((), jnp.int32)))
    return x, jnp.sqrt(ratio(rr, norm)), k
