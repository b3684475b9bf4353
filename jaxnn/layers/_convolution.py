"""Convolution layers: weights that are shared by all positions of an image, a sequence or a volume."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import jax

from jaxnn.errors import ShapeError
from jaxnn.initializers import Initializer, lecun_normal, zeros
from jaxnn.layers._layer import OpLayer, parameter_dtype
from jaxnn.ops import Op, conv, conv_transpose, depthwise_conv
from jaxnn.ops._convolution import check_groups, check_positions
from jaxnn.ops._windows import Each, Padding, per_axis
from jaxnn.typing import Key, Params


@final
@dataclass(frozen=True, repr=False)
class Conv(OpLayer):
    """Convolution, y_qo = sum_j sum_i x_{s q + d j - low, i} w_jio + b_o, over all axes between first and last.

    It has prod(window) * in / groups * features weights and `features` biases, whatever the size of the image.

    Parameters: `w`, `(*window, in / groups, features)`; `b`, `(features,)`.

    Attributes:
        features: Number of outputs at each position, also called channels or filters.
        window: Size of w along each spatial axis, such as `(3, 3)`; a number for the same along all of x's. flax,
            Keras and PyTorch call it `kernel_size`.
        stride: Positions from one window to the next.
        padding: `"SAME"` (as in flax; Keras has `"valid"`), `"SAME_LOWER"`, `"VALID"`, `"CAUSAL"`, `"CIRCULAR"`,
            `"REFLECT"`, or numbers; see `nn.ops.conv`.
        dilation: Positions from one tap of the window to the next.
        groups: So many groups of features that do not see each other.
        bias: Whether there is a b. Leave it out before a `BatchNorm`, which subtracts it again.
        w_init: Initialiser of w.
        b_init: Initialiser of b.

    Raises:
        ShapeError: x has not as many spatial axes as the window; a window is larger than x with its padding; the
            features are not those it was initialised for.
        ValueError: Groups do not divide the features; a setting does not count, or is not for these axes.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Conv(20, (3, 3)), jnp.zeros((8, 28, 28, 3))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape, nn.tree.count(params)
    ((8, 28, 28, 20), 560)

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """

    features: int
    window: Each
    _: KW_ONLY
    stride: Each = 1
    padding: Padding = "SAME"
    dilation: Each = 1
    groups: int = 1
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = conv
    arrays: ClassVar[tuple[str, ...]] = ("x", "w", "b")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("w", "b") if self.bias else ("w",)

    def init(self, key, x):
        taps = _taps(self.window, x)
        _check_count(self.features, "features")
        check_groups(self.groups, x.shape[-1], self.features)
        return _draw(self, key, (*taps, x.shape[-1] // self.groups, self.features), self.groups, x)


@final
@dataclass(frozen=True, repr=False)
class DepthwiseConv(OpLayer):
    """Convolution of every feature by itself, into one or more; followed by a `Conv(..., 1)` a separable one.

    Parameters: `w`, `(*window, 1, in * multiplier)`; `b`, `(in * multiplier,)`. Features are also called channels.

    Attributes:
        window: Size of w along each spatial axis; a number for the same along all of x's. Elsewhere `kernel_size`.
        multiplier: Features out for each feature in.
        stride: Positions from one window to the next.
        padding: As for `Conv`.
        dilation: Positions from one tap of the window to the next.
        bias: Whether there is a b.
        w_init: Initialiser of w.
        b_init: Initialiser of b.

    Raises:
        ShapeError: As for `Conv`.
        ValueError: A setting does not count, or is not for these axes.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> separable = nn.serial(nn.DepthwiseConv(3, bias=False), nn.Conv(64, 1))
    >>> params, _ = separable.init(jax.random.key(0), jnp.zeros((8, 28, 28, 32)))
    >>> nn.tree.count(params), 3 * 3 * 32 + 32 * 64 + 64
    (2400, 2400)

    Source: Howard et al., "MobileNets" (2017).
    """

    window: Each
    _: KW_ONLY
    multiplier: int = 1
    stride: Each = 1
    padding: Padding = "SAME"
    dilation: Each = 1
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = depthwise_conv
    arrays: ClassVar[tuple[str, ...]] = ("x", "w", "b")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("w", "b") if self.bias else ("w",)

    def init(self, key, x):
        taps = _taps(self.window, x)
        _check_count(self.multiplier, "multiplier")
        out = x.shape[-1] * self.multiplier
        return _draw(self, key, (*taps, 1, out), x.shape[-1], x)


@final
@dataclass(frozen=True, repr=False)
class ConvTranspose(OpLayer):
    """Transposed convolution: each position of x lays the window's weights down, a stride apart; enlarges by it.

    Parameters: `w`, `(*window, features / groups, in)`, as in Keras; `b`, `(features,)`.

    Attributes:
        features: Number of outputs at each position, also called channels or filters.
        window: Size of w along each spatial axis; a number for the same along all of x's. Elsewhere `kernel_size`.
            Where the stride does not divide it, outputs are reached by different numbers of taps, which shows as a
            checkerboard.
        stride: By which x is enlarged.
        padding: `"SAME"` for stride * n outputs, `"VALID"` for all that are reached, numbers of outputs to take
            away, and others; see `nn.ops.conv_transpose`.
        dilation: Positions from one tap of the window to the next.
        groups: So many groups of features that do not see each other.
        extra: Outputs more at the end: PyTorch's `output_padding`.
        bias: Whether there is a b.
        w_init: Initialiser of w; it is given the fans of the layer, not those of the `Conv` this transposes.
        b_init: Initialiser of b.

    Raises:
        ShapeError: As for `Conv`.
        ValueError: Groups do not divide the features; a setting does not count, or is not for these axes.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.ConvTranspose(16, (4, 4), stride=2), jnp.zeros((8, 7, 7, 32))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape
    (8, 14, 14, 16)

    Source: Zeiler et al., "Deconvolutional networks" (2010); for the checkerboard, Odena et al. (2016).
    """

    features: int
    window: Each
    _: KW_ONLY
    stride: Each = 1
    padding: Padding = "SAME"
    dilation: Each = 1
    groups: int = 1
    extra: Each = 0
    bias: bool = True
    w_init: Initializer = lecun_normal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = conv_transpose
    arrays: ClassVar[tuple[str, ...]] = ("x", "w", "b")

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("w", "b") if self.bias else ("w",)

    def init(self, key, x):
        taps, g = _taps(self.window, x), self.groups
        _check_count(self.features, "features")
        check_groups(g, x.shape[-1], self.features)
        params, state = _draw(self, key, (*taps, x.shape[-1] // g, self.features), g, x)
        w = params["w"].reshape(*taps, x.shape[-1] // g, g, self.features // g).swapaxes(-1, -3)
        return {**params, "w": w.reshape(*taps, self.features // g, x.shape[-1])}, state


def _draw(layer: Any, key: Key, shape: tuple[int, ...], groups: int, x: Any) -> tuple[Params, Params]:
    """Draw w of shape `(*window, in / groups, features)`, each group by itself: its fans are its own; and b."""
    dtype = parameter_dtype(x)
    w_key, b_key = jax.random.split(key)
    if groups == 1:
        w = layer.w_init(w_key, shape, dtype)
    else:
        own = (*shape[:-1], shape[-1] // groups)
        draw = jax.vmap(lambda key: layer.w_init(key, own, dtype), out_axes=-2)
        w = draw(jax.random.split(w_key, groups)).reshape(shape)
    params = {"w": w}
    if layer.bias:
        params["b"] = layer.b_init(b_key, shape[-1:], dtype)
    return params, {}


def _check_count(count: Any, name: str) -> None:
    """Raise an error unless a setting counts features."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"expected {name} as a whole number of at least 1, because it counts outputs; got {count!r}")


def _taps(window: Each, x: Any) -> tuple[int, ...]:
    """The size of the window along each of x's spatial axes."""
    own = len(tuple(window)) if isinstance(window, Iterable) else None
    rank = x.ndim - 2 if own is None else own
    if rank < 1 or x.ndim != rank + 2:
        axes = "at least one spatial axis" if own is None else f"{rank} spatial axes"
        raise ShapeError(
            f"x of shape (batch, ..., features) with {axes}",
            why=f"the window is {window}",
            got=tuple(x.shape),
            hint="images without colour need an axis of one feature: x[..., None]" if x.ndim == rank + 1 else None,
        )
    check_positions(x.shape)
    return per_axis(window, rank, "window")
