"""A trainer: what does not change during a run, with the pure functions that begin it and take one step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax.stages import Compiled
from optax import with_extra_args_support

from jaxnn import tree
from jaxnn.gradients import Gradient, LossLike, by_autodiff, scaled_by
from jaxnn.layers._layer import Layer, LayerLike, as_layer, outline
from jaxnn.optim import Optimizer, apply_updates, loss_scale_of
from jaxnn.optim._loss_scale import all_finite
from jaxnn.training._compiled import compiled
from jaxnn.typing import Array, Data, Key, Params, State

# Streams of the root key. The root never changes and every draw is folded in from it by stream, then by epoch
# or step, then by the layer's position; so nothing random is stored, and a resumed run is the same run.
INIT, SHUFFLE, LAYERS, AUGMENT, SAMPLE = range(5)


class TrainState(NamedTuple):
    """All that changes during a run; it is enough to resume it."""

    params: Params  # leaves that learn, None where a leaf is frozen
    frozen: Params  # leaves that do not, None where a leaf learns
    state: State  # running statistics and the like
    opt_state: Any  # of the optimizer, for the leaves that learn
    step: Array  # steps taken, shape (), int32
    epoch: Array  # epochs finished, shape (), int32
    position: Array  # steps taken of the epoch after these, 0 but where `run` was interrupted; shape (), int32
    key: Key  # the root of all randomness


class Info(NamedTuple):
    """What a step saw: to be looked at, not to be carried."""

    loss: Array  # mean over the batch's weights, shape ()
    prediction: Any  # the model's output in training


class Observed(NamedTuple):
    """What there is to see of a step, for `fit(..., record=...)`: what is not looked at is not computed."""

    loss: Array  # mean over the batch's weights, shape ()
    prediction: Any  # the model's output in training
    grads: Params  # of the loss, with `None` where a leaf is frozen
    updates: Any  # of the optimizer, like the gradients; they are added unless all weights are 0


@final
@dataclass(frozen=True)
class Trainer:
    """A model, a loss, an optimizer and a road to the gradient, as `trainer` puts them together.

    ======================================  ===========================================
    `init(key, x) -> train_state`           draw parameters and begin
    `step(train_state, batch)`              take one step: `-> (train_state, info)`
    `observed_step(train_state, batch)`     the same step, with gradients and updates to be seen
    `compile(train_state, batch)`           the step, compiled for their shapes before it is called
    `predict(train_state, x)`               the model's output in inference
    ======================================  ===========================================

    All but `compile` are pure, so they may be compiled, mapped, differentiated and sharded.
    """

    model: Layer
    loss: LossLike
    optimizer: Optimizer
    gradient: Callable[[LayerLike, LossLike], Gradient] = by_autodiff
    freeze: tuple[str, ...] = ()
    gradient_at: Callable[[Params, Any], Params] | None = None

    def init(self, key: Key, x: Any) -> TrainState:
        """Draw parameters for inputs like `x`, of which only shape and dtype matter, and begin a run.

        Raises:
            ValueError: A pattern of `freeze` matches no parameter.
            ShapeError: A layer cannot take what the one before it gives.
        """
        shapes, structure = jax.tree.flatten(outline(x))
        model_and_shapes = self.model, structure, tuple(shapes)
        draw = _drawn_on_cpu if jax.default_backend() == "cpu" else _drawn
        try:
            return self.begin(key, *draw(model_and_shapes, key))
        except jax.errors.ConcretizationTypeError:  # some layer looks at its key, as to draw with NumPy
            return self.begin(key, *_draw(model_and_shapes, key))

    def begin(self, key: Key, params: Params, state: State) -> TrainState:
        """Begin a run with parameters and layer state that are there, such as those of a trained model.

        Args:
            key: What later randomness comes from.
            params: All of them; those that `freeze` matches are held fixed.
            state: That of the layers.

        Raises:
            ValueError: A pattern of `freeze` matches no parameter.

        >>> import jax, jax.numpy as jnp, jaxnn as nn
        >>> model = nn.serial(nn.Dense(4), nn.relu, nn.Dense(1))
        >>> params, state = model.init(jax.random.key(0), jnp.zeros((1, 3)))
        >>> trainer = nn.trainer(model, nn.losses.mse, nn.adam(1e-3), freeze="dense_0/.*")
        >>> ts = trainer.begin(jax.random.key(1), params, state)
        >>> int(ts.step), nn.tree.count(ts.params), nn.tree.count(ts.frozen)
        (0, 5, 16)
        """
        frozen, params = tree.split(params, tree.mask(params, self.freeze))
        zero = lambda: jnp.zeros((), jnp.int32)
        return TrainState(params, frozen, state, self.optimizer.init(params), zero(), zero(), zero(), key)

    def step(self, train_state: TrainState, batch: Data) -> tuple[TrainState, Info]:
        """Move the parameters once against the gradient on `batch`.

        A batch whose weights are all 0 changes nothing but the count of steps. With a `dynamic_loss_scale`, a gradient
        that is not finite leaves parameters and layer state as they are, and lowers the scale.

        Raises:
            ValueError: The optimizer's state is that of another optimizer or of other parameters.
        """
        train_state, seen = self.observed_step(train_state, batch)
        return train_state, Info(seen.loss, seen.prediction)

    def observed_step(
        self, train_state: TrainState, batch: Data, *, nonempty: bool = False
    ) -> tuple[TrainState, Observed]:
        """Take the step that `step` takes, and return all that there is to see of it: gradients and updates too.

        The optimizer is given, beside the gradient, `value`, `grad` and `value_fn`, for those with a line search.

        Args:
            train_state: Where to step from.
            batch: What to step on.
            nonempty: Whether the caller knows that not all weights are 0. Then there is no batch to be left out, for
                which the old parameters and states would have to be kept beside the new.

        Raises:
            ValueError: The optimizer's state is that of another optimizer or of other parameters.
        """
        ts = train_state
        self.check(ts)
        key = jax.random.fold_in(jax.random.fold_in(ts.key, LAYERS), ts.step)
        gradient = self.gradient(self.model, self.loss)
        at = ts.params if self.gradient_at is None else self.gradient_at(ts.params, ts.opt_state)
        loss_scale = loss_scale_of(ts.opt_state)
        loss, (state, prediction), grads = gradient(at, ts.frozen, ts.state, batch, key=key, **scaled_by(loss_scale))
        loss_at = lambda params: gradient(params, ts.frozen, ts.state, batch, key=key)[0]
        optimizer = with_extra_args_support(self.optimizer)
        updates, opt_state = optimizer.update(grads, ts.opt_state, ts.params, value=loss, grad=grads, value_fn=loss_at)
        if loss_scale is not None:  # running statistics have met what the gradient could not hold
            finite = all_finite(grads)
            state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), state, ts.state)
        moved = apply_updates(ts.params, updates), state, opt_state
        if batch.w is not None and not nonempty:
            seen = batch.w.sum() > 0
            stayed = ts.params, ts.state, ts.opt_state
            moved = jax.tree.map(lambda new, old: jnp.where(seen, new, old), moved, stayed)
        params, state, opt_state = moved
        ts = ts._replace(params=params, state=state, opt_state=opt_state, step=ts.step + 1)
        return ts, Observed(loss, prediction, grads, updates)

    def compile(self, train_state: TrainState, batch: Data) -> Compiled:
        """Compile `step` ahead of time, for train states and batches like these, of which only shape and dtype matter.

        They may be arrays or `jax.ShapeDtypeStruct`s, so what a step costs can be known before there is data or memory
        for it. What is returned is called as `jax.jit(step)` is, gives the same bits, compiles nothing more, and has
        `cost_analysis()`, `memory_analysis()` and `as_text()`. For a whole run, `jax.jit` of `fit` does the same.

        Raises:
            ValueError: As `step` does.
            ShapeError: The model or the loss cannot take the batch.
            TypeError: Later, where what is compiled is called with another structure, shape or dtype.

        >>> import jax, jax.numpy as jnp, jaxnn as nn
        >>> trainer = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
        >>> x, y = jax.ShapeDtypeStruct((4, 3), jnp.float32), jax.ShapeDtypeStruct((4, 1), jnp.float32)
        >>> ts = jax.eval_shape(trainer.init, jax.random.key(0), x)
        >>> step = trainer.compile(ts, nn.Data(x, y))
        >>> step.memory_analysis().argument_size_in_bytes >= 4 * (12 + 4)
        True
        >>> ts, info = step(trainer.init(jax.random.key(0), x), nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1))))
        >>> ts.step
        Array(1, dtype=int32)
        """
        return jax.jit(self.step).lower(train_state, batch).compile()

    def predict(self, train_state: TrainState, x: Any) -> Any:
        """Return the model's output for x, as in inference."""
        ts = train_state
        return self.model.apply(tree.merge(ts.params, ts.frozen), ts.state, x)[0]

    def check(self, train_state: TrainState) -> None:
        """Raise an error if `train_state` is not one of this trainer: by what is frozen, and the optimizer's state.

        Raises:
            ValueError: Other leaves are frozen than this trainer freezes, or the optimizer's state is that of
                another optimizer or of other parameters.
        """
        whole = tree.merge(train_state.params, train_state.frozen)
        freezes = {name for name, held in tree.named_leaves(tree.mask(whole, self.freeze)).items() if held}
        held = set(tree.named_leaves(train_state.frozen))
        if held != freezes:
            raise ValueError(
                f"expected a train state that holds {', '.join(sorted(freezes)) or 'nothing'} fixed, because this "
                f"trainer has freeze={self.freeze}; got one that holds {', '.join(sorted(held)) or 'nothing'}\n"
                "  hint: begin with this trainer's init, and put the parameters that you have in its params and frozen"
            )
        expected = jax.eval_shape(self.optimizer.init, train_state.params)
        got = outline(train_state.opt_state)
        if jax.tree.structure(expected) != jax.tree.structure(got):
            raise ValueError(
                "expected the optimizer state of this trainer's optimizer for these parameters, because "
                f"update reads it by structure:\n  {jax.tree.structure(expected)}\n"
                f"got\n  {jax.tree.structure(got)}\n"
                "  hint: begin with trainer.init, or replace opt_state by trainer.optimizer.init(params)"
            )
        expected, got = tree.named_leaves(expected), tree.named_leaves(got)
        for name, leaf in got.items():
            if leaf.shape != expected[name].shape:
                raise ValueError(
                    f"expected the optimizer state {name} of shape {expected[name].shape}, because the "
                    f"parameters have it; got {leaf.shape}"
                )


def _draw(model_and_shapes: tuple[Layer, Any, tuple[Any, ...]], key: Key) -> tuple[Params, State]:
    model, structure, shapes = model_and_shapes
    return model.init(jax.random.fold_in(key, INIT), jax.tree.unflatten(structure, shapes))


_drawn = compiled(_draw)
# Random bits are long programs that run once. With little optimisation they compile in less than half of the time, to
# the same numbers.
_drawn_on_cpu = compiled(_draw, xla_backend_optimization_level=1)


def trainer(
    model: LayerLike,
    loss: LossLike,
    optimizer: Optimizer,
    *,
    gradient: Callable[[LayerLike, LossLike], Gradient] = by_autodiff,
    freeze: tuple[str, ...] | str = (),
    gradient_at: Callable[[Params, Any], Params] | None = None,
) -> Trainer:
    """Put a model, a loss and an optimizer together.

    Args:
        model: A layer.
        loss: An op or a function of prediction and target that returns the loss of each example,
            `(batch, ...)`; the mean, weighed where a batch has weights, is the trainer's.
        optimizer: One of `jaxnn.optim` or of optax.
        gradient: The road: `by_autodiff`, `by_hand`, or `functools.partial(by_hand, strict=True)`.
        freeze: Regular expressions that match the whole names of the parameters to hold fixed, such as
            `("block_0/.*",)`. No gradient of these is computed and no optimizer state is kept.
        gradient_at: A function of the parameters and the optimizer's state: where the loss and its gradient are
            taken, if not at the parameters themselves. `nn.optim.look_ahead` is the textbook's for Nesterov momentum.

    Raises:
        TypeError: The optimizer has no `init` and `update`.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(1), nn.losses.mse, nn.sgd(0.1))
    >>> ts = t.init(jax.random.key(0), jnp.zeros((4, 3)))
    >>> ts, info = t.step(ts, nn.Data(jnp.ones((4, 3)), jnp.ones((4, 1))))
    >>> ts.step
    Array(1, dtype=int32)
    """
    if not isinstance(optimizer, tuple):  # optax's are named tuples
        raise TypeError(
            f"expected an optimizer, such as nn.adam(1e-3), because it has init and update; got {optimizer!r}"
        )
    freeze = (freeze,) if isinstance(freeze, str) else tuple(freeze)
    return Trainer(as_layer(model), loss, optimizer, gradient, freeze, gradient_at)
