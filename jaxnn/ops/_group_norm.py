"""Normalisation of each example over all its positions, by groups of features or by single ones.

Dimensions: `batch` the leading axis, `features` the last, also called channels; `...` positions between them.
"""

from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.ops._op import op, shape_only
from jaxnn.ops._scale_and_offset import Features, check_features, scaled_and_offset, scaled_and_offset_bwd
from jaxnn.ops._standardize import standardize_bwd, standardize_fwd
from jaxnn.typing import AnyArray, Array, accumulator_dtype


def _check_group_norm(
    x: AnyArray, scale: AnyArray | None, offset: AnyArray | None, *, groups: int, epsilon: float = 1e-5
) -> None:
    check_features(x, scale, offset, epsilon=epsilon)
    if x.ndim < 2:
        raise ShapeError("x of shape (batch, ..., features)", why="each example has its own statistics", got=x.shape)
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or x.shape[-1] % groups:
        raise ValueError(f"expected groups that divide {x.shape[-1]}, because x has so many features; got {groups!r}")
    _check_more_than_one(x, groups)


def _check_more_than_one(x: AnyArray, groups: int) -> None:
    """Raise an error if what is normalised by its own mean is a single number."""
    if all(n == 1 for n in x.shape[1:-1]) and x.shape[-1] == groups:
        raise ShapeError(
            "more than one position for groups of one feature",
            why="a single number less its mean is 0",
            got=tuple(x.shape),
        )


@op(_check_group_norm)
def group_norm(
    x: Float[Array, "batch ... features"],
    scale: Features | None,
    offset: Features | None,
    *,
    groups: int,
    epsilon: float = 1e-5,
) -> Float[Array, "batch ... features"]:
    """Normalise groups of features of each example, y = scale x^ + offset with x^ = (x - mean) / sqrt(var + epsilon).

    mean and var are those of one group in one example, over all its positions. A group is `features / groups`
    neighbours, as elsewhere. With one group it is `layer_norm` over the positions too, with as many as there are
    features `instance_norm`. var is the biased one. Statistics are computed centred and in float32 at least.

    Args:
        x: Input, `(batch, ..., features)`.
        scale: `(features,)`, the paper's gamma, or `None` for 1.
        offset: `(features,)`, the paper's beta, or `None` for 0.
        groups: How many there are; they divide the features.
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6, Keras 1e-3.

    Returns:
        The shape of x.

    Raises:
        ShapeError: scale or offset does not fit, or a group is a single number.
        ValueError: The groups do not divide the features.

    >>> import jax.numpy as jnp
    >>> group_norm(jnp.array([[1.0, 3.0, 10.0, 30.0]]), None, None, groups=2, epsilon=0.0)
    Array([[-1.,  1., -1.,  1.]], dtype=float32)

    Source: Wu and He, "Group normalization" (2018).
    """
    return group_norm_fwd(x, scale, offset, groups=groups, epsilon=epsilon)[0]


def group_norm_fwd(x, scale, offset, *, groups, epsilon=1e-5):
    """Remember x^, and 1 / sqrt(var + epsilon), one number a group of each example."""
    wide = _in_groups(x.astype(accumulator_dtype(x.dtype)), groups)
    normal, (_, r) = standardize_fwd(wide, axis=_of_a_group(wide), epsilon=epsilon)
    normal = normal.reshape(x.shape)
    residuals = normal.astype(x.dtype), r, scale, None if offset is None else shape_only(offset)
    return scaled_and_offset(normal, scale, offset).astype(x.dtype), residuals


def group_norm_bwd(residuals, dy, *, groups, epsilon=1e-5):
    """The backward of scale and offset gives d^, the cotangent of x^; that of `standardize` makes dx of it."""
    normal, r, scale, offset = residuals
    d_normal, d_scale, d_offset = scaled_and_offset_bwd(normal, scale, offset, dy.astype(r.dtype))
    normal, d_normal = _in_groups(normal, groups), _in_groups(d_normal, groups)
    (dx,) = standardize_bwd((normal, r), d_normal, axis=_of_a_group(normal), epsilon=epsilon)
    return dx.reshape(dy.shape).astype(dy.dtype), d_scale, d_offset


group_norm.defvjp(group_norm_fwd, group_norm_bwd)


def _in_groups(x, groups):
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def _of_a_group(x):
    """The axes of `(batch, ..., groups, features)` over which a group is normalised: the positions and the last."""
    return (*range(1, x.ndim - 2), x.ndim - 1)


def _check_instance_norm(
    x: AnyArray, scale: AnyArray | None, offset: AnyArray | None, *, epsilon: float = 1e-5
) -> None:
    check_features(x, scale, offset, epsilon=epsilon)
    if x.ndim < 3:
        raise ShapeError(
            "x of shape (batch, ..., features) with at least one spatial axis",
            why="each feature is normalised over the positions of an example",
            got=tuple(x.shape),
            hint="layer_norm normalises over the features" if x.ndim == 2 else None,
        )
    _check_more_than_one(x, x.shape[-1])


@op(_check_instance_norm)
def instance_norm(
    x: Float[Array, "batch ... features"], scale: Features | None, offset: Features | None, *, epsilon: float = 1e-5
) -> Float[Array, "batch ... features"]:
    """Normalise each feature of each example, y = scale x^ + offset with x^ = (x - mean) / sqrt(var + epsilon).

    mean and var are those of one feature of one example, over its positions. Features, or channels, are not pooled:
    that would be `group_norm` with one group. var is the biased one. Statistics are computed centred and in float32 at
    least.

    Args:
        x: Input, `(batch, ..., features)`, with at least one spatial axis.
        scale: `(features,)`, or `None` for 1.
        offset: `(features,)`, or `None` for 0.
        epsilon: Keeps the square root away from 0. As in PyTorch; flax has 1e-6.

    Returns:
        The shape of x.

    Raises:
        ShapeError: scale or offset does not fit, or there is only one position.

    >>> import jax.numpy as jnp
    >>> instance_norm(jnp.array([[[1.0, 10.0], [3.0, 30.0]]]), None, None, epsilon=0.0)
    Array([[[-1., -1.],
            [ 1.,  1.]]], dtype=float32)

    Source: Ulyanov, Vedaldi and Lempitsky, "Instance normalization" (2016).
    """
    return instance_norm_fwd(x, scale, offset, epsilon=epsilon)[0]


def instance_norm_fwd(x, scale, offset, *, epsilon=1e-5):
    """Every feature is a group; what is remembered is as there."""
    return group_norm_fwd(x, scale, offset, groups=x.shape[-1], epsilon=epsilon)


def instance_norm_bwd(residuals, dy, *, epsilon=1e-5):
    """As that of `group_norm`, where every feature is a group."""
    return group_norm_bwd(residuals, dy, groups=dy.shape[-1], epsilon=epsilon)


instance_norm.defvjp(instance_norm_fwd, instance_norm_bwd)
