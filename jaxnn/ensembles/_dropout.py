"""Monte Carlo dropout: an ensemble of one model, whose members are what dropout leaves of it.

Dimensions: `samples` draws; `batch`; `...` the further axes of a model's output.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.layers import Layer, LayerLike, as_layer
from jaxnn.layers._noise import Noise
from jaxnn.layers._rewriting import rewritten
from jaxnn.training._checks import count
from jaxnn.training._compiled import hashable
from jaxnn.typing import Key, Params, State


@final
@dataclass(frozen=True, repr=False)
class _Drawing(Layer):
    """A layer of noise that draws in inference too."""

    layer: Noise

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        del train
        return self.layer.apply(params, state, x, key=key, train=True)


def monte_carlo_dropout(
    model: LayerLike, params: Params, state: State, x: Any, key: Key, *, samples: int, block: int | None = None
) -> Any:
    """Predict several times, with dropout drawn anew each time as in training, and all else as in inference.

    Batches are normalised by running statistics, nothing is added to the loss, and no state changes. What draws are
    `Dropout`, `SpatialDropout`, `DropPath`, `GaussianNoise` and `drop_connect`, wherever they stand. The samples are
    what `uncertainty`, `spread` and the votes of `nn.ops` take for members.

    Args:
        model: A layer with dropout in it.
        params: All its parameters.
        state: Its state.
        x: Inputs, `(batch, ...)`; each example has draws of its own.
        key: What is drawn from.
        samples: How many times, at least 1.
        block: How many are computed at once; `None` for all.

    Returns:
        `(samples, batch, ...)`.

    Raises:
        ValueError: Nothing in the model draws, so that all samples would be the same.
        TypeError, ValueError: `samples` or `block` is no int of at least 1.

    >>> import jaxnn as nn
    >>> model = nn.serial(nn.Dense(64), nn.relu, nn.Dropout(0.5), nn.Dense(3))
    >>> x = jnp.ones((2, 4))
    >>> params, state = model.init(jax.random.key(0), x)
    >>> z = monte_carlo_dropout(model, params, state, x, jax.random.key(1), samples=100)
    >>> z.shape, bool((nn.ensembles.uncertainty(z).mutual_information > 0).all())
    ((100, 2, 3), True)

    Source: Gal and Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty in deep learning"
    (2016).
    """
    count(samples, "samples", why="it counts draws")
    drawing, drawn = _drawing(as_layer(model))
    if not drawn:
        raise ValueError(
            "expected a model with dropout or other noise in it, because samples differ by what is drawn; "
            f"got {model!r}\n  hint: train with nn.Dropout(0.1) before the last layer"
        )
    if block is not None:
        count(block, "block", why="it counts samples that are computed at once")
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(samples))
    # A rate may be a tracer, which nothing can be remembered by.
    sampled = _sampled_once if hashable(drawing) else _sampled
    return sampled(drawing, block or samples, params, state, x, keys)


def _sampled(drawing: Layer, block: int, params: Params, state: State, x: Any, keys: Any) -> Any:
    return lax.map(lambda key: drawing.apply(params, state, x, key=key)[0], keys, batch_size=block)


_sampled_once = jax.jit(_sampled, static_argnums=(0, 1))  # or else all is compiled at every call


def _drawing(model: Layer) -> tuple[Layer, int]:
    """The model with noise that draws in inference too, and how many layers of it there are."""
    drawn = []

    def change(layer: Layer) -> Layer:
        if isinstance(layer, Noise):
            drawn.append(layer)
            return _Drawing(layer)
        return layer

    return rewritten(model, change), len(drawn)
