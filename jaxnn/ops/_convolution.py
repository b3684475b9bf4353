"""Convolution, and the transposed convolution that is its backward.

Dimensions: `batch`; one spatial axis or several, `n` positions and `q` windows; `in` and `out` features, last.
What windows are, and how stride, padding and dilation place them, stands in `_windows.py`; the three bilinear maps
that both ops and their backwards are made of in `_correlation.py`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops import _correlation
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._windows import Padding, transposed_windows, windows
from jaxnn.typing import AnyArray, Array

Each = int | Sequence[int]
"""One number for all spatial axes, or one for each."""


def _check(x: AnyArray, w: AnyArray, b: AnyArray | None, groups: int, *, features: tuple[int, int, int]) -> None:
    """Check what x, w and b are to each other; `features` are those of x, of y and of b as w has them."""
    taps, wanted, out = w.shape[:-2], features[0], features[2]
    if w.ndim < 3 or x.ndim != w.ndim:
        spatial = ", ".join(f"n{axis}" for axis in range(len(taps))) if w.ndim > 2 else "..."
        raise ShapeError(
            f"x of shape (batch, {spatial}, features)",
            why=f"w is {tuple(w.shape)}, which has {len(taps)} spatial axes",
            got=tuple(x.shape),
            hint="images without colour need an axis of one feature: x[..., None]" if x.ndim == w.ndim - 1 else None,
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because it is weighed and added up; got {x.dtype}: cast it first")
    if x.dtype != w.dtype:
        raise TypeError(f"expected x and w of one dtype, because they are multiplied; got {x.dtype} and {w.dtype}: "
                        "cast one of them")  # fmt: skip
    check_groups(groups, features[0], features[1])
    if x.shape[-1] != wanted:
        grouped = f" for each of {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"x of {wanted} features, (batch, ..., {wanted})",
            why=f"w is {tuple(w.shape)}: {wanted // groups} features in{grouped}",
            got=tuple(x.shape),
            hint="features come last; move them there with jnp.moveaxis(x, 1, -1)" if x.shape[1] == wanted else None,
        )
    if b is not None and b.shape != (out,):
        raise ShapeError(f"b of shape ({out},)", why=f"w is {tuple(w.shape)}", got=tuple(b.shape))


def _check_conv(
    x: AnyArray,
    w: AnyArray,
    b: AnyArray | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
    groups: int = 1,
) -> None:
    *taps, i, o = w.shape if w.ndim > 1 else (0, 0)
    _check(x, w, b, groups, features=(i * groups, o, o))
    windows(x.shape[1:-1], taps, stride=stride, padding=padding, dilation=dilation)


@op(_check_conv)
def conv(
    x: Float[Array, "batch *n in"],
    w: Float[Array, "*taps in_of_group out"],
    b: Float[Array, " out"] | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
    groups: int = 1,
) -> Float[Array, "batch *q out"]:
    """Convolution, y_qo = sum_j sum_i x_{s q + d j - low, i} w_jio + b_o.

    One function for 1, 2, 3 or more spatial axes, over which q, j, s, d and low are vectors. As everywhere in
    deep learning it is a correlation: w is not turned round. With n positions an axis has
    floor((n + low + high - d (k - 1) - 1) / s) + 1 outputs.

    Args:
        x: Input, `(batch, *n, in)`.
        w: Weights, `(*taps, in / groups, out)`, as in flax and Keras; PyTorch's are `(out, in / groups, *taps)`.
        b: Bias, `(out,)`, or `None`.
        stride: s, positions from one window to the next.
        padding: `"SAME"` for ceil(n / s) outputs, the odd position of padding at the end (with a stride, PyTorch's
            `padding=k // 2` puts it at the front); `"VALID"` for none; `"CAUSAL"`, on one axis, so that no output
            depends on what comes after it; or numbers, one for all ends, one for each axis, or a pair for each.
        dilation: d, positions from one tap to the next.
        groups: Features are split into so many groups, which do not see each other; as many as there are features
            is a depthwise convolution, whose `out` may be any multiple of `in`. (On a CPU narrow groups are multiplied
            together, with zeros between them, so there an infinity in one makes NaN in its neighbours.)

    Returns:
        y, `(batch, *q, out)`.

    Raises:
        ShapeError: x has other features than w, or other axes; a window is larger than x with its padding.
        ValueError: Groups do not divide the features; a setting is not for these axes.
        TypeError: x is not floating, or w of another dtype.

    >>> conv(jnp.arange(5.0).reshape(1, 5, 1), jnp.array([1.0, 0.0, -1.0]).reshape(3, 1, 1), padding="VALID").ravel()
    Array([-2., -2., -2.], dtype=float32)

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """
    axes = windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation)
    return _with_bias(_correlation.correlate(x, w, axes=axes, groups=groups), b)


def conv_fwd(x, w, b=None, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1):
    """Remember x and w, for each is the other's derivative, and whether there is a b."""
    y = conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y, (x, w, None if b is None else shape_only(b))


def conv_bwd(residuals, dy, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1):
    """With p = s q + d j - low:

    y_qo = sum_ji x_pi w_jio + b_o, so dx_pi = sum_jo dy_qo w_jio, dw_jio = sum_q x_pi dy_qo, db_o = sum_q dy_qo.
    """
    x, w, b = residuals
    axes = windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation)
    dx = _correlation.transpose(dy, w, axes=axes, groups=groups)
    dw = _correlation.weigh(x, dy, axes=axes, groups=groups)
    return dx, dw, None if b is None else _bias_gradient(dy)


conv.defvjp(conv_fwd, conv_bwd)


def _check_depthwise_conv(
    x: AnyArray,
    w: AnyArray,
    b: AnyArray | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
) -> None:
    if w.ndim > 2 and w.shape[-2] != 1:
        raise ShapeError("w of shape (*taps, 1, out)", why="every feature is convolved by itself", got=tuple(w.shape))
    if x.ndim == w.ndim and w.shape[-1] % x.shape[-1]:
        raise ShapeError(
            f"x of as many features as divide {w.shape[-1]}",
            why=f"w is {tuple(w.shape)}, which makes as many of each",
            got=tuple(x.shape),
        )
    _check_conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=x.shape[-1])


@op(_check_depthwise_conv)
def depthwise_conv(
    x: Float[Array, "batch *n in"],
    w: Float[Array, "*taps 1 out"],
    b: Float[Array, " out"] | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
) -> Float[Array, "batch *q out"]:
    """Convolution of every feature by itself, y_{q, (i, m)} = sum_j x_{s q + d j - low, i} w_{j, (i, m)} + b_{(i, m)}.

    `conv` with as many groups as there are features in. Each gives m features out, which lie side by side.

    Args:
        x: Input, `(batch, *n, in)`.
        w: Weights, `(*taps, 1, in * m)`.
        b: Bias, `(in * m,)`, or `None`.
        stride: As for `conv`, and so all settings.
        padding: See `conv`.
        dilation: See `conv`.

    Returns:
        y, `(batch, *q, in * m)`.

    Raises:
        ShapeError: w is not of one feature in, or of features out that those of x divide; and as for `conv`.

    >>> depthwise_conv(jnp.array([[[1.0, 10.0]]]), jnp.array([[[1.0, 2.0, 3.0, 4.0]]])).ravel()
    Array([ 1.,  2., 30., 40.], dtype=float32)

    Source: Howard et al., "MobileNets" (2017), where a 1x1 convolution follows.
    """
    return conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=x.shape[-1])


def depthwise_conv_fwd(x, w, b=None, **settings):
    """Remember what `conv` does."""
    return conv_fwd(x, w, b, groups=x.shape[-1], **settings)


def depthwise_conv_bwd(residuals, dy, **settings):
    """The backward of `conv`, in whose sums over features in there is one of them."""
    return conv_bwd(residuals, dy, groups=residuals[0].shape[-1], **settings)


depthwise_conv.defvjp(depthwise_conv_fwd, depthwise_conv_bwd)


def _check_conv_transpose(
    x: AnyArray,
    w: AnyArray,
    b: AnyArray | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
    groups: int = 1,
    extra: Each = 0,
) -> None:
    *taps, i, o = w.shape if w.ndim > 1 else (0, 0)
    _check(x, w, b, groups, features=(o, i * groups, i * groups))
    transposed_windows(x.shape[1:-1], taps, stride=stride, padding=padding, dilation=dilation, extra=extra)


@op(_check_conv_transpose)
def conv_transpose(
    x: Float[Array, "batch *q in"],
    w: Float[Array, "*taps out_of_group in"],
    b: Float[Array, " out"] | None = None,
    *,
    stride: Each = 1,
    padding: Padding = "SAME",
    dilation: Each = 1,
    groups: int = 1,
    extra: Each = 0,
) -> Float[Array, "batch *n out"]:
    """Transposed convolution, y_pi = sum over q and j with s q + d j - low = p of sum_o x_qo w_jio, + b_i.

    Each x lays w down, s apart. It is the transpose of the linear map that `conv` with the same settings is: that goes
    from many positions to few, and this from few to many. It is `conv`'s backward by x, and `conv` is its own.

    Args:
        x: Input, `(batch, *q, in)`.
        w: Weights, `(*taps, out / groups, in)`: those of the `conv` that it is the transpose of, as in Keras. (Those
            of PyTorch are `(in, out / groups, *taps)`. flax's `ConvTranspose` turns w round by default.)
        b: Bias, `(out,)`, or `None`.
        stride: s, by which it enlarges.
        padding: `"SAME"` for n = s q outputs; `"VALID"` for all that are reached, n = s (q - 1) + d (k - 1) + 1 (Keras
            adds s - k zeros at the end if the stride is the larger one); `"CAUSAL"`, on one axis, for s q outputs,
            none of which depends on a later x; numbers take away so many at the ends, as in PyTorch.
        dilation: d, positions from one tap to the next.
        groups: Groups of features that do not see each other.
        extra: Outputs more at the end, fewer than s: PyTorch's `output_padding`. A conv with a stride gives the same
            number of windows for several sizes, and this tells which of them it is; with padding as numbers.

    Returns:
        y, `(batch, *n, out)`.

    Raises:
        ShapeError: x has other features than w, or other axes; nothing is left between the padding.
        ValueError: Groups do not divide the features; a setting is not for these axes.
        TypeError: x is not floating.

    >>> x, w = jnp.array([1.0, 10.0]).reshape(1, 2, 1), jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> conv_transpose(x, w, stride=2, padding="VALID").ravel()
    Array([ 1.,  2., 13., 20., 30.], dtype=float32)

    Source: Zeiler et al., "Deconvolutional networks" (2010); Dumoulin and Visin (2016), section 4.
    """
    axes = transposed_windows(
        x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation, extra=extra
    )
    return _with_bias(_correlation.transpose(x, w, axes=axes, groups=groups), b)


def conv_transpose_fwd(x, w, b=None, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1, extra=0):
    """Remember x and w, for each is the other's derivative, and whether there is a b."""
    y = conv_transpose(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, extra=extra)
    return y, (x, w, None if b is None else shape_only(b))


def conv_transpose_bwd(residuals, dy, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1, extra=0):
    """With p = s q + d j - low:

    y_pi = sum_jo x_qo w_jio + b_i, so dx_qo = sum_ji dy_pi w_jio, dw_jio = sum_q dy_pi x_qo, db_i = sum_p dy_pi.
    """
    x, w, b = residuals
    axes = transposed_windows(
        x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation, extra=extra
    )
    dx = _correlation.correlate(dy, w, axes=axes, groups=groups)
    dw = _correlation.weigh(dy, x, axes=axes, groups=groups)
    return dx, dw, None if b is None else _bias_gradient(dy)


conv_transpose.defvjp(conv_transpose_fwd, conv_transpose_bwd)


def check_groups(groups: int, i: int, o: int) -> None:
    """Raise an error unless `groups` can split i features in and o features out."""
    if not isinstance(groups, int) or groups < 1 or i % groups or o % groups:
        raise ValueError(f"expected groups that divide features in and out, because each group has its own share of "
                         f"them; got groups={groups} with {i} features in and {o} out")  # fmt: skip


def _with_bias(y: Array, b: Array | None) -> Array:
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def _bias_gradient(dy: Array) -> Array:
    return dy.sum(axis=tuple(range(dy.ndim - 1)))
