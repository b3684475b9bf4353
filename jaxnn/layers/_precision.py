"""Computing a layer in a narrower dtype than the one in which its parameters are held: mixed precision."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn import tree
from jaxnn.layers._combinators import one_layer
from jaxnn.layers._layer import Layer, LayerLike, outline
from jaxnn.typing import accumulator_dtype


@final
@dataclass(frozen=True, repr=False)
class Precision:
    """In which dtypes a layer computes, holds its parameters, and puts out; what `in_precision` goes by.

    float64 is float32 while JAX is without it, as its default is, `jax.enable_x64`.

    Attributes:
        compute: Of what goes through the layer: its input, and its parameters while it computes.
        params: Of the parameters, and so of their gradients and of what an optimizer does with them.
        output: Of what comes out, which a loss is computed in.

    Raises:
        TypeError: One of them is no floating dtype.

    >>> Precision(), Precision(jnp.float16) == Precision("float16")
    (Precision(compute=bfloat16, params=float32, output=float32), True)
    """

    compute: Any = jnp.bfloat16
    params: Any = jnp.float32
    output: Any = jnp.float32

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            dtype = None if given is None else jnp.dtype(given)
            if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(f"expected a floating dtype for {field.name}, because parameters and activations are "
                                f"real numbers; got {given if dtype is None else dtype}\n"
                                "  hint: Precision(compute=jnp.bfloat16)")  # fmt: skip
            object.__setattr__(self, field.name, dtype)

    def __repr__(self) -> str:
        return f"Precision({', '.join(f'{field.name}={getattr(self, field.name)}' for field in fields(self))})"


@final
@dataclass(frozen=True, repr=False)
class InPrecision(Layer):
    """A layer that computes in another dtype, as `in_precision` makes it. It adds no level of names.

    Attributes:
        layer: The layer.
        policy: The dtypes.
    """

    layer: Layer
    policy: Precision

    def init(self, key, x):
        held = self.policy.params
        # Where x is integer, layers draw in JAX's default dtype.
        params, state = self.layer.init(key, jax.eval_shape(lambda x: _cast(x, held), outline(x)))
        return _cast(params, held), _cast(state, accumulator_dtype(held))

    def apply(self, params, state, x, *, key=None, train=False):
        y, new = self.layer.apply(*self._computed(params, state, x), key=key, train=train)
        return _cast(y, self.policy.output), _like(new, _dtypes(state))

    def fwd(self, params, state, x, *, key=None, train=False):
        (y, new), residuals = self.layer.fwd(*self._computed(params, state, x), key=key, train=train)
        out = _cast(y, self.policy.output), _like(new, _dtypes(state))
        return out, (residuals, _dtypes(params), _dtypes(x), _dtypes(y))

    def bwd(self, residuals, dy):
        residuals, params, x, y = residuals
        d_params, dx = self.layer.bwd(residuals, _like(dy, y))
        return _like(d_params, params), _like(dx, x)

    def _computed(self, params, state, x):
        return _cast(params, self.policy.compute), state, _cast(x, self.policy.compute)

    @property
    def children(self) -> Mapping[str, Layer]:
        return {"": self.layer}

    def freeze(self, frozen):
        return InPrecision(self.layer.freeze(frozen), self.policy)

    def __repr__(self) -> str:
        return f"in_precision({self.layer!r}, policy={self.policy!r})"


def in_precision(*layers: LayerLike, policy: Precision, **named: LayerLike) -> InPrecision:
    """Compute layers in one dtype, and hold their parameters in another: mixed precision, put round a whole model.

    Parameters and input, if it is floating, are cast to `policy.compute` on the way in, and the output to
    `policy.output` on the way out; of trees, such as `Sequences`, every floating leaf. The backward casts the other
    way, so that gradients have the dtype in which the parameters are held, and small updates of float32 parameters are
    not lost. Integers stay, and so does the layer's state, which is in float32 at least, as the means and variances
    are that normalisations take, and sums of products. The loss is computed in the dtype of the output.

    float16 has no numbers between 0 and 6e-8 nor beyond 65504: train in it with a `dynamic_loss_scale`. bfloat16 has
    the range of float32 and needs none.

    Args:
        *layers: The layer, or several that are put in series.
        policy: The dtypes. Of one within another, the inner one computes as it says, with parameters that were cast
            by both; the outer one says in which dtype they are held.
        **named: Further layers under names of your own.

    >>> import jax, jaxnn as nn
    >>> model = in_precision(nn.Dense(3), nn.relu, policy=Precision(compute=jnp.bfloat16))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> (y, state), residuals = model.fwd(params, state, 1 / jnp.arange(1.0, 9.0).reshape(2, 4))
    >>> y.dtype, params["dense_0"]["w"].dtype, bool((y == y.astype(jnp.bfloat16).astype(jnp.float32)).all())
    (dtype('float32'), dtype('float32'), True)

    Source: Micikevicius et al., "Mixed precision training" (2018).
    """
    if not isinstance(policy, Precision):
        raise TypeError(f"expected policy as a Precision, because it has three dtypes; got {policy!r}\n"
                        "  hint: in_precision(model, policy=Precision(compute=jnp.bfloat16))")  # fmt: skip
    return InPrecision(one_layer(layers, named), policy)


def _floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _cast(whole: Any, dtype: Any) -> Any:
    """Cast every floating leaf."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype) if _floating(leaf) else leaf, whole)


def _dtypes(whole: Any) -> dict[str, Any]:
    """Remember the dtypes of floating leaves by name, each as an array of no elements, as residuals are arrays."""
    floating = {name: leaf for name, leaf in tree.named_leaves(whole).items() if _floating(leaf)}
    return {name: jnp.zeros(0, jnp.result_type(leaf)) for name, leaf in floating.items()}


def _like(whole: Any, dtypes: dict[str, Any]) -> Any:
    """Cast the leaves that are among these. There may be fewer, for not everything has a cotangent."""
    return tree.map_named(lambda name, leaf: leaf.astype(dtypes[name].dtype) if name in dtypes else leaf, whole)
