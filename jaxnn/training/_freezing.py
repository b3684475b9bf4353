"""What is frozen, changed in the middle of a run: what goes on learning keeps what its optimizer knows."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from jaxnn import tree
from jaxnn.training._trainer import Trainer, TrainState


def refreeze(trainer: Trainer, train_state: TrainState, freeze: tuple[str, ...] | str) -> tuple[Trainer, TrainState]:
    """Freeze other parameters from here on, and go on with the rest as if nothing had happened.

    Parameters keep their values, and layers their state. Of the optimizer's state stays what is kept of a parameter
    that goes on learning, and what is kept of all of them together: counts of steps, a learning rate that has fallen,
    hyperparameters that were set. A parameter that is unfrozen begins as in the optimizer's `init`: with moments, and a
    previous gradient, of 0, and an average or a slow weight that is its value. One that is frozen keeps its value,
    which is not its average, and what the optimizer kept of it is gone.

    **With Adam and its kin**, group what is unfrozen together by `by_name`, as below. They correct their means for a
    start from 0 by a count of steps. With one count for all parameters, a parameter that is unfrozen late begins with
    means that are no longer corrected: its first step is (1 - b1) / sqrt(1 - b2) = 3.2 times the learning rate, and if
    gradients agree, the twelfth is 6.6 times. A part of `by_name` has a count of its own, and a schedule too, which
    begin when the first of it learns.

    It is pure and has no number to trace: what is frozen is structure. Of train states that are stacked, map it over
    them: `jax.vmap(lambda ts: refreeze(trainer, ts, freeze)[1])`.

    Args:
        trainer: Whose train state it is.
        train_state: Between any two steps; but with `MultiSteps` best after a step, for the gradients gathered so far
            count as 0 for what is unfrozen.
        freeze: What is frozen from here on, all of it, as `trainer` takes it; `()` for nothing.

    Returns:
        The trainer that freezes this, and its train state.

    Raises:
        ValueError: A pattern matches no parameter; the train state is not the trainer's; or the optimizer keeps
            parameters together, so that what is of which cannot be told.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.serial(stem=nn.Dense(8), body=nn.Dense(8), head=nn.Dense(1))
    >>> optimizer = nn.optim.by_name({f"{part}/.*": nn.adam(1e-3) for part in ("stem", "body", "head")})
    >>> data = nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1)))
    >>> trainer = nn.trainer(model, nn.losses.mse, optimizer, freeze=("stem/.*", "body/.*"))
    >>> ts = trainer.init(jax.random.key(0), data.x)
    >>> for frozen in [("stem/.*", "body/.*"), ("stem/.*",), ()]:  # gradual unfreezing, from the head on
    ...     trainer, ts = refreeze(trainer, ts, frozen)
    ...     ts, history = nn.fit(trainer, ts, data, epochs=2, batch_size=4)
    >>> {part: int(state.inner_state[0].count) for part, state in ts.opt_state.inner_states.items()}
    {'body/.*': 4, 'head/.*': 6, 'stem/.*': 2}

    Source: Howard and Ruder, "Universal language model fine-tuning for text classification" (2018), section 3.3.
    """
    trainer.check(train_state)
    ts, freeze = train_state, (freeze,) if isinstance(freeze, str) else tuple(freeze)
    whole = tree.merge(ts.params, ts.frozen)
    frozen, params = tree.split(whole, tree.mask(whole, freeze))
    opt_state = ts.opt_state
    if set(tree.named_leaves(params)) != set(tree.named_leaves(ts.params)):
        opt_state = _taken_over(trainer.optimizer.init(params), ts.opt_state, set(tree.named_leaves(whole)))
    return replace(trainer, freeze=freeze), ts._replace(params=params, frozen=frozen, opt_state=opt_state)


def _taken_over(new: Any, old: Any, parameters: set[str]) -> Any:
    """Return the new state with every leaf for which the old one has one of its name.

    Raises:
        ValueError: An array is not that of one parameter, as its name would say.
    """
    kept = tree.named_leaves(old)

    def take(name, leaf):
        if name not in kept:
            return leaf
        together = not any(name == one or name.endswith(f"/{one}") for one in parameters)
        if kept[name].shape != leaf.shape or (together and leaf.ndim > 0 and jnp.issubdtype(leaf.dtype, jnp.inexact)):
            raise ValueError(
                f"expected an optimizer that keeps its state parameter by parameter, because that of those that go on "
                f"learning is kept; got {name} of shape {kept[name].shape} before and {leaf.shape} after\n"
                "  hint: flatten(optimizer) has all parameters in one vector, and lbfgs their inner products: begin "
                "anew, train_state._replace(opt_state=trainer.optimizer.init(train_state.params))"
            )
        return kept[name] if kept[name].dtype == leaf.dtype else kept[name].astype(leaf.dtype)

    return tree.map_named(take, new)
