"""Normalisation layers: batch normalisation with its running statistics."""

from dataclasses import KW_ONLY, dataclass
from typing import final

import jax.numpy as jnp

from jaxnn.initializers import Initializer, ones, zeros
from jaxnn.layers._layer import Layer, all_held, check_names, parameter_dtype
from jaxnn.ops import batch_norm, normalise
from jaxnn.typing import Scalar, accumulator_dtype


@final
@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Normalise each feature over the batch, y = scale (x - mean) / sqrt(var + epsilon) + offset.

    In training mean and var are the batch's own (var the biased one), and the running averages move
    towards them, running <- decay running + (1 - decay) batch. In inference they are the running averages.

    Parameters: `scale`, `offset`, both `(features,)`. State: `mean`, `var`, both `(features,)`, in float32
    at least. Frozen, with all its parameters held fixed, it runs as in inference and its averages rest too;
    one without parameters does so when all those beside it, in its `serial` or `parallel`, are held.

    Attributes:
        decay: Of the running averages; PyTorch's `momentum` is 1 - decay. May be a tracer.
        epsilon: Keeps the square root away from 0. As in flax and PyTorch; Keras has 1e-3.
        scale: Whether there is a scale.
        offset: Whether there is an offset.

    Raises:
        ShapeError: The features are not those it was initialised for, or a batch in training is empty.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.array([[1.0], [2.0], [3.0], [4.0]])
    >>> layer = nn.BatchNorm(decay=0.9)
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> y, state = layer.apply(params, state, x, train=True)
    >>> [round(float(y_i), 3) for y_i in y[:, 0]], state["mean"].round(3)
    ([-1.342, -0.447, 0.447, 1.342], Array([0.25], dtype=float32))

    Source: Ioffe and Szegedy, "Batch normalization" (2015).
    """

    _: KW_ONLY
    decay: Scalar = 0.99
    epsilon: float = 1e-5
    scale: bool = True
    offset: bool = True

    def init(self, key, x):
        features, dtype = x.shape[-1:], parameter_dtype(x)
        statistics = accumulator_dtype(dtype)
        inits: dict[str, Initializer] = {}
        if self.scale:
            inits["scale"] = ones
        if self.offset:
            inits["offset"] = zeros
        params = {name: init(key, features, dtype) for name, init in inits.items()}
        return params, {"mean": jnp.zeros(features, statistics), "var": jnp.ones(features, statistics)}

    def apply(self, params, state, x, *, key=None, train=False):
        del key
        scale, offset = self._learned(params)
        if train:
            y, mean, var = batch_norm(x, scale, offset, epsilon=self.epsilon)
            return y, self._moved(state, mean, var)
        return normalise(x, state["mean"], state["var"], scale, offset, epsilon=self.epsilon), state

    def fwd(self, params, state, x, *, key=None, train=False):
        del key
        scale, offset = self._learned(params)
        if train:
            (y, mean, var), residuals = batch_norm.fwd(x, scale, offset, epsilon=self.epsilon)
            return (y, self._moved(state, mean, var)), {"batch": residuals}
        y, residuals = normalise.fwd(x, state["mean"], state["var"], scale, offset, epsilon=self.epsilon)
        return (y, state), {"running": residuals}

    def bwd(self, residuals, dy):
        if "batch" in residuals:
            # The loss depends on the batch's statistics through y alone; the running ones are for later.
            dx, d_scale, d_offset = batch_norm.bwd(residuals["batch"], (dy, None, None), epsilon=self.epsilon)
        else:
            dx, _, _, d_scale, d_offset = normalise.bwd(residuals["running"], dy, epsilon=self.epsilon)
        d_params = {"scale": d_scale, "offset": d_offset}
        return {name: d for name, d in d_params.items() if d is not None}, dx

    def freeze(self, frozen):
        return Inference(self) if all_held(frozen) else self

    def _learned(self, params):
        check_names(self, params, [name for name in ("scale", "offset") if getattr(self, name)])
        return params.get("scale"), params.get("offset")

    def _moved(self, state, mean, var):
        def moved(running, batch):
            decay = jnp.asarray(self.decay, running.dtype)
            return decay * running + (1 - decay) * batch.astype(running.dtype)

        return {"mean": moved(state["mean"], mean), "var": moved(state["var"], var)}


@final
@dataclass(frozen=True, repr=False)
class Inference(Layer):
    """A layer that runs as in inference even in training, as a frozen `BatchNorm` does."""

    layer: Layer

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        del train
        return self.layer.apply(params, state, x, key=key, train=False)

    def fwd(self, params, state, x, *, key=None, train=False):
        del train
        return self.layer.fwd(params, state, x, key=key, train=False)

    def bwd(self, residuals, dy):
        return self.layer.bwd(residuals, dy)

    @property
    def children(self):
        return {"": self.layer}
