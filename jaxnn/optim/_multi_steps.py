"""Gradients that are gathered over several small batches before an optimizer takes one step with them."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import optax
from optax import skip_large_updates as skip_large_updates
from optax import skip_not_finite as skip_not_finite

from jaxnn.optim._arithmetic import cast_like, next_count, widest
from jaxnn.optim._checks import check_count
from jaxnn.optim._combining import with_extra_args_support
from jaxnn.optim._learning_rate import at
from jaxnn.optim._optimizer import Optimizer
from jaxnn.typing import Array, Scalar, Schedule


class MultiStepsState(NamedTuple):
    """State of `MultiSteps`."""

    mini_step: Array  # gradients gathered since the last step, shape (), int32
    gradient_step: Array  # steps taken, shape (), int32
    inner_opt_state: Any  # of the optimizer
    acc_grads: Any  # the mean or the sum of the gradients gathered, like the parameters
    skip_state: Any = ()  # what the function that skips said of the last gradients


@final
class MultiSteps(optax.GradientTransformationExtraArgs):
    """An optimizer that takes a step with the mean of every k gradients, and gives updates of 0 at the others.

    a <- a + (g - a) / n for the n-th gradient g; at n = k the optimizer gets a. With gradients of means over batches of
    one size that is the step of one batch of all their examples: same numbers, less memory. PyTorch, whose gradients
    add up until they are zeroed, has the sum: there the loss is divided by k.

    It stands around the whole optimizer, so that all of it, schedules and clipping too, counts steps and not gradients.
    It is an optimizer itself, unlike optax's, whose `gradient_transformation()` is one; and the optimizer within is run
    at every k-th gradient only. The state and its numbers are the same.

    Args:
        opt: The optimizer within.
        every_k_schedule: k, a number, a tracer or a function of the steps taken. A tracer below 1 is as 1.
        use_grad_mean: Whether the optimizer gets the mean, or the sum.
        should_skip_update_fn: A function (grads, gradient_step, params) -> (skip, what to keep in the state):
            gradients for which it says so are left out and not counted. `skip_not_finite` is one,
            `functools.partial(skip_large_updates, max_squared_norm=...)` another.
        accumulator_dtype: Of the gradients gathered.

    Raises:
        ValueError: `every_k_schedule` is a number below 1 or not whole, or the function that skips says no bool.

    >>> from jaxnn.optim import sgd
    >>> optimizer, p = MultiSteps(sgd(0.5), 2), jnp.array([0.0])
    >>> first, state = optimizer.update(jnp.array([2.0]), optimizer.init(p), p)
    >>> second, state = optimizer.update(jnp.array([6.0]), state, p)
    >>> first, second
    (Array([0.], dtype=float32), Array([-2.], dtype=float32))
    """

    inner_opt: optax.GradientTransformationExtraArgs

    def __new__(
        cls,
        opt: Optimizer,
        every_k_schedule: Scalar | Schedule,
        use_grad_mean: bool = True,
        should_skip_update_fn: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None,
        accumulator_dtype: Any = jnp.float32,
    ) -> "MultiSteps":
        """Put the optimizer within one that gathers."""
        check_count("it counts steps", every_k_schedule=every_k_schedule)
        inner = with_extra_args_support(opt)
        skips = should_skip_update_fn or (lambda grads, step, params: (jnp.array(False), ()))

        def init(params):
            zero = lambda: jnp.zeros((), jnp.int32)
            _, said = skips(jax.tree.map(jnp.zeros_like, params), zero(), params)
            gathered = jax.tree.map(lambda p: jnp.zeros_like(p, accumulator_dtype), params)
            return MultiStepsState(zero(), zero(), inner.init(params), gathered, said)

        def update(updates, state, params=None, **extra):
            skip, said = skips(updates, state.gradient_step, params)
            skip = jnp.asarray(skip)
            if (skip.shape, skip.dtype) != ((), jnp.bool_):
                raise ValueError("expected should_skip_update_fn to return a bool of shape (), because gradients are "
                                 f"left out or not; got {skip.dtype} of shape {skip.shape}")  # fmt: skip
            k = at(every_k_schedule, state.gradient_step)
            n = state.mini_step + 1

            def gather(g, a):
                wide = widest(g, a)
                g, a = g.astype(wide), a.astype(wide)
                return a + (g - a) / n.astype(wide) if use_grad_mean else a + g

            def step():
                grads = cast_like(gathered, updates)
                given, inner_state = inner.update(grads, state.inner_opt_state, params, **extra)
                kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), inner_state, state.inner_opt_state)
                empty = jax.tree.map(jnp.zeros_like, state.acc_grads)
                steps = next_count(state.gradient_step)
                return cast_like(given, updates), MultiStepsState(jnp.zeros_like(n), steps, kept, empty, said)

            def wait():
                kept = cast_like(gathered, state.acc_grads)
                return zeros, state._replace(mini_step=n, acc_grads=kept, skip_state=said)

            def leave_out():
                return zeros, state._replace(skip_state=said)

            zeros = jax.tree.map(jnp.zeros_like, updates)
            gathered = jax.tree.map(gather, updates, state.acc_grads)
            whole = n >= jnp.asarray(k, n.dtype)
            return jax.lax.switch(jnp.where(skip, 2, whole.astype(jnp.int32)), [wait, step, leave_out])

        self = super().__new__(cls, init, update)
        self.inner_opt = inner
        return self

    def has_updated(self, state: MultiStepsState) -> Array:
        """Whether the last gradient led to a step."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> optax.GradientTransformationExtraArgs:
        """Return itself, which is an optimizer; optax's is none."""
        return self
