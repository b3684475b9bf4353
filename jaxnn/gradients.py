"""Two roads to the same gradient: JAX's reverse mode, and backpropagation written by hand.

Both make, of a model and a loss, a function of the same signature with the same result:

`f(params, frozen, state, batch, *, key, loss_scale) -> (value, (state, prediction), grads)`

`params` has `None` for every leaf that is frozen, `frozen` has `None` for every other, and `grads` is like
`params`: no gradient of a frozen leaf is computed on either road.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import jax
import jax.numpy as jnp

from jaxnn import tree
from jaxnn.errors import ShapeError
from jaxnn.layers._auxiliary import auxiliary_loss
from jaxnn.layers._layer import Layer, LayerLike, as_layer
from jaxnn.losses import Penalty, weighted_mean
from jaxnn.ops import Op
from jaxnn.typing import Array, Data, Key, Params, Scalar, State

LossLike: TypeAlias = Op | Callable[[Any, Any], Any]
"""An op of prediction and target that returns the loss of each example, or a function that does."""


@runtime_checkable
class Gradient(Protocol):
    """The value of a model's loss on a batch, in training, and its gradient."""

    def __call__(
        self,
        params: Params,
        frozen: Params,
        state: State,
        batch: Data,
        *,
        key: Key | None = None,
        loss_scale: Scalar | None = None,
    ) -> tuple[Array, tuple[State, Any], Params]:
        """Return `(value, (state, prediction), grads)`.

        The value is the weighted mean of the batch's losses, and what layers add to it by their state.

        Args:
            params: Leaves to differentiate by; `None` where a leaf is frozen.
            frozen: The other leaves; `None` where a leaf is in `params`. `{}` if there are none.
            state: The model's state.
            batch: Inputs, targets and optional weights.
            key: For layers that draw random numbers.
            loss_scale: By how much cotangents are larger on the way back through the model, where in float16 they
                would otherwise be 0. Value and gradients are those without it. `None` is 1.
        """
        ...


def by_autodiff(model: LayerLike, loss: LossLike) -> Gradient:
    """The gradient by `jax.value_and_grad` of `apply`, with the rules of those ops that install one.

    Args:
        model: A layer.
        loss: An op or a function `(prediction, target) -> (batch, ...)`.

    >>> import jax, jaxnn as nn
    >>> model, batch = nn.Dense(1), nn.Data(jnp.array([[2.0]]), jnp.array([[3.0]]))
    >>> params = {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}
    >>> value, (state, prediction), grads = by_autodiff(model, nn.losses.mse)(params, {}, {}, batch)
    >>> value, grads["w"]
    (Array(1., dtype=float32), Array([[-4.]], dtype=float32))
    """
    layer, op = as_layer(model), as_loss(loss)

    def gradient(params, frozen, state, batch, *, key=None, loss_scale=None):
        live = layer.freeze(frozen)

        def objective(params):
            prediction, new = live.apply(tree.merge(params, frozen), state, batch.x, key=key, train=True)
            value = _with_auxiliary(weighted_mean(op(prediction, batch.y), batch.w), new)
            return _times(loss_scale, value), (value, new, prediction)

        (_, (value, new, prediction)), grads = jax.value_and_grad(objective, has_aux=True)(params)
        return value, (new, prediction), _over(loss_scale, grads)

    return gradient


def by_hand(model: LayerLike, loss: LossLike, *, strict: bool = False) -> Gradient:
    """The gradient by backpropagation: `fwd` layer by layer, the loss's own `bwd`, then `bwd` in reverse.

    No differentiation by JAX happens in it, but in layers and losses that are without a hand-written
    backward, where there are any.

    Args:
        model: A layer.
        loss: An op or a function `(prediction, target) -> (batch, ...)`.
        strict: Whether to refuse such layers and losses.

    Raises:
        ValueError: `strict`, and something has no hand-written backward; the message names it. Or a layer adds to
            the loss, which its backward takes for unscaled, and `loss_scale` is given.

    >>> import jax, jaxnn as nn
    >>> model, batch = nn.Dense(1), nn.Data(jnp.array([[2.0]]), jnp.array([[3.0]]))
    >>> params = {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}
    >>> value, (state, prediction), grads = by_hand(model, nn.losses.mse)(params, {}, {}, batch)
    >>> value, grads["w"]
    (Array(1., dtype=float32), Array([[-4.]], dtype=float32))

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).
    """
    layer, op = as_layer(model), as_loss(loss)
    automatic = [*_automatic(layer, "model"), *([] if op.hand else [f"loss: {op!r}"])]
    if strict and automatic:
        raise ValueError(
            "expected a hand-written backward everywhere, because strict=True; JAX derives that of "
            + ", ".join(automatic)
        )

    def gradient(params, frozen, state, batch, *, key=None, loss_scale=None):
        live = layer.freeze(frozen)
        whole = tree.merge(params, frozen)

        (prediction, new), residuals = live.fwd(whole, state, batch.x, key=key, train=True)
        losses, loss_residuals = op.fwd(prediction, batch.y)
        value, mean_residuals = weighted_mean.fwd(losses, batch.w)

        if loss_scale is not None and auxiliary_loss(new) is not None:
            raise ValueError(
                "expected no layer to add to the loss, because their backward by hand takes the loss for unscaled; "
                "got one that does, and a loss_scale\n  hint: by_autodiff scales what they add as well, and bfloat16 "
                "needs no loss_scale"
            )
        d_losses, _ = weighted_mean.bwd(mean_residuals, _times(loss_scale, jnp.ones_like(value)))
        d_prediction, *_ = op.bwd(loss_residuals, d_losses)
        d_params, _ = live.bwd(residuals, d_prediction)
        grads = _over(loss_scale, _gradients_of(params, whole, d_params))
        return _with_auxiliary(value, new), (new, prediction), grads

    return gradient


def with_penalty(road: Callable[[LayerLike, LossLike], Gradient], penalty: Penalty) -> "Penalised":
    """Return a road that adds a penalty to the value and its gradient to the gradient, by hand on either road.

    What is frozen has no penalty. Evaluation is without it.

    Args:
        road: `by_autodiff`, `by_hand`, or any other.
        penalty: Such as `Penalty(l2=1e-4)`.

    Raises:
        TypeError: The road is none, or the penalty; they may have changed places.

    >>> import jax, jaxnn as nn
    >>> road = with_penalty(by_hand, nn.losses.Penalty(l2=0.5))
    >>> model, batch = nn.Dense(1), nn.Data(jnp.array([[2.0]]), jnp.array([[3.0]]))
    >>> params = {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}
    >>> value, (state, prediction), grads = road(model, nn.losses.mse)(params, {}, {}, batch)
    >>> value, grads["w"]
    (Array(1.5, dtype=float32), Array([[-3.]], dtype=float32))
    """
    hint = "\n  hint: with_penalty(by_hand, Penalty(l2=0.1))"
    # A penalty can be called too, with parameters; the trainer would find out late.
    if isinstance(road, Penalty) or not callable(road):
        raise TypeError(
            f"expected a road such as by_hand first, because the penalty is added to its gradient; got {road!r}{hint}"
        )
    if not isinstance(penalty, Penalty):
        raise TypeError(f"expected a Penalty, because it says of which parameters; got {penalty!r}{hint}")
    return Penalised(road, penalty)


@final
@dataclass(frozen=True)
class Penalised:
    """A road with a penalty, as `with_penalty` makes it."""

    road: Callable[[LayerLike, LossLike], Gradient]
    penalty: Penalty

    def __call__(self, model: LayerLike, loss: LossLike) -> Gradient:
        """Return the gradient of the penalised loss."""
        unpenalised = self.road(model, loss)

        def gradient(params, frozen, state, batch, *, key=None, loss_scale=None):
            value, auxiliary, grads = unpenalised(params, frozen, state, batch, key=key, **scaled_by(loss_scale))
            extra, residuals = self.penalty.fwd(params, frozen)
            d_params = self.penalty.bwd(residuals, jnp.ones_like(extra))
            return value + extra.astype(value.dtype), auxiliary, jax.tree.map(jnp.add, grads, d_params)

        return gradient


def as_loss(loss: LossLike) -> Op:
    """Return the op that a loss is, or an op of the function that it is, whose backward is JAX's own."""
    return loss if isinstance(loss, Op) else Op(loss)


def scaled_by(loss_scale: Scalar | None) -> dict[str, Scalar]:
    """Return the keyword of a road, and nothing where nothing is scaled: for roads of one's own that have no such."""
    return {} if loss_scale is None else {"loss_scale": loss_scale}


def _with_auxiliary(value: Array, state: State) -> Array:
    added = auxiliary_loss(state)
    return value if added is None else value + added.astype(value.dtype)


def _times(loss_scale: Scalar | None, value: Array) -> Array:
    return value if loss_scale is None else value * jnp.asarray(loss_scale, value.dtype)


def _over(loss_scale: Scalar | None, grads: Params) -> Params:
    return grads if loss_scale is None else jax.tree.map(lambda g: g / jnp.asarray(loss_scale, g.dtype), grads)


def _automatic(layer: Layer, path: str) -> Iterator[str]:
    if layer.children:
        for name, child in layer.children.items():
            yield from _automatic(child, f"{path}/{name}" if name else path)
    elif not layer.hand:
        yield f"{path}: {layer!r}"


def _gradients_of(params: Params, whole: Params, d_params: Params) -> Params:
    """Pick the gradient of every leaf of `params`: 0 where a backward said `None` or stopped short of it."""
    expected, got = tree.named_leaves(whole), tree.named_leaves(d_params)
    for name, d in got.items():
        if name not in expected:
            raise ValueError(f"expected gradients of parameters only; got one of {name}, where bwd may return "
                             f"those of: {', '.join(expected)}")  # fmt: skip
        if d.shape != expected[name].shape:
            raise ShapeError(f"a gradient of shape {tuple(expected[name].shape)}",
                             why=f"{name} has it", got=tuple(d.shape))  # fmt: skip
    return tree.map_named(
        lambda name, leaf: got[name].astype(leaf.dtype) if name in got else jnp.zeros_like(leaf), params
    )
