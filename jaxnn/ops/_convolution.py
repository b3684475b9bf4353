"""Convolution, and the transposed convolution that is its backward.

Dimensions: `batch`; one spatial axis or several, `n` positions and `q` windows; `in` and `out` features (also called
channels), last. What windows are, and how stride, padding and dilation place them, stands in `_windows.py`; paddings
that repeat x in `_edges.py`; the three bilinear maps that the ops and their backwards are made of in
`_correlation.py`, whose rules are installed.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops import _correlation
from jaxnn.ops._edges import fold, surround, windows_within
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._windows import Each, Padding, transposed_windows, windows
from jaxnn.typing import AnyArray, Array


def _check(x: AnyArray, w: AnyArray, b: AnyArray | None, groups: int, *, transposed: bool = False) -> None:
    """Check what x, w and b are to each other; w is of (in, out) features, or if transposed (out, in)."""
    _check_ranks(x, w, "out, in" if transposed else "in, out")
    check_positions(x.shape)
    if 0 in w.shape:
        raise ShapeError("w without an empty axis", why="y sums over its taps and features", got=tuple(w.shape))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"expected floating x, because it is weighed and added up; got {x.dtype}: cast it first")
    if x.dtype != w.dtype:
        raise TypeError(f"expected x and w of one dtype, because they are multiplied; got {x.dtype} and {w.dtype}: "
                        "cast one of them")  # fmt: skip
    check_groups(groups)
    # What of w is one group's: features in of a convolution, features out of a transposed one.
    own, whole = w.shape[-2] * groups, w.shape[-1]
    i, o = (whole, own) if transposed else (own, whole)
    check_groups(groups, i, o)
    if x.shape[-1] != i:
        grouped = f" for each of {groups} groups" if groups > 1 and not transposed else ""
        raise ShapeError(
            f"x of {i} features, (batch, ..., {i})",
            why=f"w is {tuple(w.shape)}: {whole if transposed else w.shape[-2]} features in{grouped}",
            got=tuple(x.shape),
            hint=_features_elsewhere(x.shape, i),
        )
    if b is not None and b.shape != (o,):
        raise ShapeError(f"b of shape ({o},)", why=f"w is {tuple(w.shape)}: {o} features out", got=tuple(b.shape))


def _check_ranks(x: AnyArray, w: AnyArray, features: str) -> None:
    rank, own = x.ndim - 2, w.ndim - 2
    if own < 1 or own < rank:
        taps = ", ".join(f"k{axis}" for axis in range(rank)) if rank > 0 else "*taps"
        raise ShapeError(
            f"w of shape ({taps}, {features})",
            why=f"x is {tuple(x.shape)}: {rank} spatial axes" if rank > 0 else "windows lie along spatial axes",
            got=tuple(w.shape),
            hint="if it is x that has axes too many, fold them into the batch" if own > 0 else None,
        )
    if rank < own:
        raise ShapeError(
            f"x of shape (batch, {', '.join(f'n{axis}' for axis in range(own))}, features)",
            why=f"w is {tuple(w.shape)}, which has {own} spatial axes",
            got=tuple(x.shape),
            hint="images without colour need an axis of one feature: x[..., None]" if rank == own - 1 else None,
        )


def check_positions(shape: Sequence[int]) -> None:
    """Raise an error if there is nothing along a spatial axis, or no feature."""
    if 0 in shape[1:]:
        raise ShapeError(
            "x of at least one feature, and at least one position along each spatial axis",
            why="there is nothing to convolve",
            got=tuple(shape),
        )


def _features_elsewhere(shape: Sequence[int], features: int) -> str | None:
    """A hint, if just one of the spatial axes is as long as the axis of features should be."""
    axes = [axis for axis, n in enumerate(shape) if n == features and 0 < axis < len(shape) - 1]
    return f"features come last; move them there with jnp.moveaxis(x, {axes[0]}, -1)" if len(axes) == 1 else None


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
    _check(x, w, b, groups)
    windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation)


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
        padding: `"SAME"` for ceil(n / s) outputs, the odd position of padding at the end, or with `"SAME_LOWER"` at
            the front (where PyTorch's `padding=k // 2` with a stride has it); `"VALID"` for none; `"CAUSAL"`, on one
            axis, so that no output depends on what comes after it; or numbers, one for all ends, one for each axis,
            or a pair for each. All that is zeros. `"CIRCULAR"` and `"REFLECT"`, as in flax, give ceil(n / s) outputs
            of an x that goes round, or is mirrored at its ends.
        dilation: d, positions from one tap to the next.
        groups: Features are split into so many groups, which do not see each other; as many as there are features
            is a depthwise convolution, whose `out` may be any multiple of `in`. (On a CPU narrow groups are multiplied
            together, with zeros between them, so there an infinity in one makes NaN in its neighbours.)

    Returns:
        y, `(batch, *q, out)`.

    Raises:
        ShapeError: x has other features than w, or other axes; a window is larger than x with its padding; there is
            less of x than its padding repeats.
        ValueError: Groups do not divide the features; a setting is not for these axes.
        TypeError: x is not floating, or w of another dtype.

    >>> conv(jnp.arange(5.0).reshape(1, 5, 1), jnp.array([1.0, 0.0, -1.0]).reshape(3, 1, 1), padding="VALID").ravel()
    Array([-2., -2., -2.], dtype=float32)

    Source: LeCun et al., "Backpropagation applied to handwritten zip code recognition" (1989).
    """
    axes = windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation)
    x, axes = surround(x, axes, padding)
    return _with_bias(_correlation.correlate(x, w, axes=axes, groups=groups), b)


def conv_fwd(x, w, b=None, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1):
    """Remember x and w, for each is the other's derivative, and whether there is a b."""
    y = conv(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y, (x, w, None if b is None else shape_only(b))


def conv_bwd(residuals, dy, *, stride=1, padding: Padding = "SAME", dilation=1, groups=1):
    """With p = s q + d j - low:

    y_qo = sum_ji x_pi w_jio + b_o, so dx_pi = sum_jo dy_qo w_jio, dw_jio = sum_q x_pi dy_qo, db_o = sum_q dy_qo.

    Where padding repeats x that is so for the x with its padding, and dx folds what comes back to the padding.
    """
    x, w, b = residuals
    axes = windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation)
    x, within = surround(x, axes, padding)
    dx = fold(_correlation.transpose(dy, w, axes=within, groups=groups), axes, padding)
    dw = _correlation.weigh(x, dy, axes=within, groups=groups)
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
    if x.ndim == w.ndim and x.shape[-1] and w.shape[-1] % x.shape[-1]:
        raise ShapeError(
            f"x of as many features as divide {w.shape[-1]}",
            why=f"w is {tuple(w.shape)}, and makes of each as many as of any other",
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
    _check(x, w, b, groups, transposed=True)
    transposed_windows(x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation, extra=extra)


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
        padding: `"SAME"`, or `"SAME_LOWER"`, for n = s q outputs; `"VALID"` for all that are reached,
            n = s (q - 1) + d (k - 1) + 1 (Keras adds s - k zeros at the end if the stride is the larger one);
            `"CAUSAL"`, on one axis, for s q outputs, none of which depends on a later x; numbers take away so many at
            the ends, as in PyTorch. With `"CIRCULAR"` what would be laid beyond the s q outputs goes round to the
            other end, and with `"REFLECT"` it is mirrored.
        dilation: d, positions from one tap to the next.
        groups: Groups of features that do not see each other.
        extra: Outputs more at the end, fewer than s: PyTorch's `output_padding`. A conv with a stride gives the same
            number of windows for several sizes, and this tells which of them it is; with padding as numbers.

    Returns:
        y, `(batch, *n, out)`.

    Raises:
        ShapeError: x has other features than w, or other axes; nothing is left between the padding.
        ValueError: Groups do not divide the features; a setting is not for these axes.
        TypeError: x is not floating, or w of another dtype.

    >>> x, w = jnp.array([1.0, 10.0]).reshape(1, 2, 1), jnp.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    >>> conv_transpose(x, w, stride=2, padding="VALID").ravel()
    Array([ 1.,  2., 13., 20., 30.], dtype=float32)

    Source: Zeiler et al., "Deconvolutional networks" (2010); Dumoulin and Visin (2016), section 4.
    """
    axes = transposed_windows(
        x.shape[1:-1], w.shape[:-2], stride=stride, padding=padding, dilation=dilation, extra=extra
    )
    within = windows_within(axes, padding)
    return _with_bias(fold(_correlation.transpose(x, w, axes=within, groups=groups), axes, padding), b)


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
    around, within = surround(dy, axes, padding)
    dx = _correlation.correlate(around, w, axes=within, groups=groups)
    dw = _correlation.weigh(around, x, axes=within, groups=groups)
    return dx, dw, None if b is None else _bias_gradient(dy)


conv_transpose.defvjp(conv_transpose_fwd, conv_transpose_bwd)


def check_groups(groups: int, i: int = 0, o: int = 0) -> None:
    """Raise an error unless `groups` can split i features in and o features out."""
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise ValueError(f"expected groups as a whole number of at least 1, because it counts them; got {groups!r}")
    if i % groups or o % groups:
        raise ValueError(f"expected groups that divide features in and out, because each group has its own share of "
                         f"them; got groups={groups} with {i} features in and {o} out")  # fmt: skip


def _with_bias(y: Array, b: Array | None) -> Array:
    return y if b is None else y + jnp.broadcast_to(b, y.shape)


def _bias_gradient(dy: Array) -> Array:
    return dy.sum(axis=tuple(range(dy.ndim - 1)))
