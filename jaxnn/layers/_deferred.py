"""A dense layer that leaves its product to the loss."""

from dataclasses import KW_ONLY, dataclass
from typing import final

from jaxnn.initializers import Initializer, lecun_normal, zeros
from jaxnn.layers._dense import Dense
from jaxnn.layers._heads import present
from jaxnn.layers._layer import Layer, check_names
from jaxnn.ops import linear
from jaxnn.typing import Deferred


@final
@dataclass(frozen=True, repr=False)
class DeferredDense(Layer):
    """The last dense layer of a model of very many classes: `Dense` that in training puts out what it would multiply.

    In training the output is `Deferred(x, w, b)`, of which `nn.losses.cross_entropy` takes the product x w + b in
    chunks of the classes: neither forward nor backward are all logits in memory, which for a vocabulary of 50,000 are
    the largest arrays by far. In inference it is `Dense`: logits, for metrics, and for validation, whose
    `batch_size` bounds the memory. What records predictions in training finds them at `prediction.logits`;
    `metrics` of `fit`, which are of arrays, and `vote` cannot be had in training, and a compiled step that returns its
    prediction returns w and b with it. In mixed precision the product is in the dtype of the output.

    Parameters: those of `Dense`.

    Attributes:
        features: Number of classes.
        bias: Whether there is a b.
        w_init: Initialiser of w.
        b_init: Initialiser of b.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> model = nn.models.gpt(50_257, width=64, heads=4, blocks=2, context=32)
    >>> model = nn.replace_layer(model, "head", nn.layers.DeferredDense(50_257, bias=False))

    The rest stays as it is; here of a smaller one:

    >>> model, ids = nn.serial(nn.Embed(500, 8), nn.layers.DeferredDense(500)), jnp.array([[3, 1, 4, 1, 5]])
    >>> trainer = nn.trainer(model, nn.losses.cross_entropy, nn.adam(1e-3))
    >>> ts = trainer.init(jax.random.key(0), ids)
    >>> ts, info = jax.jit(trainer.step)(ts, nn.Data(ids[:, :-1], ids[:, 1:]))
    >>> info.loss.shape, info.prediction.w.shape, trainer.predict(ts, ids).shape
    ((), (8, 500), (1, 5, 500))

    Source: Wijmans et al., "Cut your losses in large-vocabulary language models" (2024).
    """

    features: int
    _: KW_ONLY
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    @property
    def dense(self) -> Dense:
        """The layer that it is in inference."""
        return Dense(self.features, bias=self.bias, w_init=self.w_init, b_init=self.b_init)

    def init(self, key, x):
        return self.dense.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        if not train:
            return self.dense.apply(params, state, x)
        check_names(self, params, self.dense.parameters)
        linear.check(x, params["w"], params.get("b"))
        return Deferred(x, params["w"], params.get("b")), state

    def fwd(self, params, state, x, *, key=None, train=False):
        if not train:
            return self.dense.fwd(params, state, x)
        return self.apply(params, state, x, train=True), ()

    def bwd(self, residuals, dy):
        if not isinstance(dy, Deferred):
            return self.dense.bwd(residuals, dy)
        return present({"w": dy.w, "b": dy.b}), dy.x
