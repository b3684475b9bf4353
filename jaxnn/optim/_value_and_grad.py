"""The value and the gradient that a line search has computed at the parameters that it led to."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Like `jax.value_and_grad`, but take both from the state of a line search, which has computed them already.

    The function that is returned is called with the parameters, the arguments of `value_fn`, and `state`. Where the
    value in the state is not finite, as before the first step, both are computed. What was computed on another batch
    is not what it is on this one: use it for functions of the parameters alone.

    Raises:
        ValueError: There is no value or no gradient in the state: `scale_by_backtracking_linesearch` keeps the gradient
            with `store_grad=True` only.

    >>> from jaxnn.optim import scale_by_backtracking_linesearch, sgd, chain
    >>> import jax.numpy as jnp
    >>> optimizer = chain(sgd(1.0), scale_by_backtracking_linesearch(15, store_grad=True))
    >>> f, x = lambda x: (x**2).sum(), jnp.array([1.0, 2.0])
    >>> state = optimizer.init(x)
    >>> for _ in range(3):
    ...     value, grad = value_and_grad_from_state(f)(x, state=state)
    ...     updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=f)
    ...     x = x + updates
    ...     print(f"{float(f(x)):.4f}")
    1.8000
    0.6480
    0.2333

    The name is optax's.
    """

    def value_and_grad(params, *arguments, state, **keywords):
        value, grad = optax.tree.get(state, "value"), optax.tree.get(state, "grad")
        if value is None or grad is None:
            missing = "value" if value is None else "grad"
            raise ValueError(f"expected a value and a gradient in the state, because they are taken from there; got no "
                             f"{missing}: a line search keeps them, the one that backtracks if store_grad=True"
                             )  # fmt: skip

        def computed():
            fresh = jax.value_and_grad(value_fn)(params, *arguments, **keywords)
            return jax.tree.map(lambda new, old: new.astype(old.dtype), fresh, (value, grad))

        return jax.lax.cond(jnp.isfinite(value), lambda: (value, grad), computed)

    return value_and_grad
