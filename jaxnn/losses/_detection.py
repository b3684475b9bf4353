"""The loss of detection on a grid: each cell answers for the object whose centre is in it.

Dimensions: `batch` examples; `grid` rows of cells, and columns; `boxes` that a cell predicts; `classes` of objects.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from jaxnn.errors import ShapeError
from jaxnn.losses._log_probabilities import number
from jaxnn.ops._op import op
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_grids(predictions: AnyArray, targets: AnyArray, **settings: Scalar) -> None:
    more, rest = divmod(predictions.shape[-1] - targets.shape[-1], 5)
    if predictions.shape[:-1] != targets.shape[:-1] or more < 0 or rest or targets.shape[-1] < 5:
        raise ShapeError(
            "predictions (batch, grid, grid, boxes * 5 + classes) and targets (batch, grid, grid, 5 + classes)",
            why="a cell predicts boxes of 5 numbers and a score a class, and is to find one box",
            got=f"predictions {tuple(predictions.shape)}, targets {tuple(targets.shape)}",
        )


@op(_check_grids)
def yolo_loss(
    predictions: Float[Array, "batch grid grid numbers"],
    targets: Float[Array, "batch grid grid wanted"],
    *,
    place: Scalar = 5.0,
    empty: Scalar = 0.5,
) -> Float[Array, " batch"]:
    """Squared errors of boxes on a grid, l = sum over cells of the following, with o = 1 where there is an object.

    l = sum_b [o r_b (place |q_b - q|^2 + (c_b - 1)^2) + empty (1 - o r_b) c_b^2] + o |p - t|^2

    q = (x, y, sqrt w, sqrt h) is a box, c the confidence that it is one, p and t are a score a class. Of the boxes that
    a cell predicts, r_b is 1 for the one that overlaps most with the object's, by intersection over union, and 0 for
    the others: it alone learns of it. Which one that is has no derivative.

    The paper's confidence is to be the overlap itself, which is not differentiated there; here it is to be 1.

    Args:
        predictions: For each cell boxes of (x, y, sqrt w, sqrt h, c), one after another, then p: `(batch, grid, grid,
            boxes * 5 + classes)`. x and y are places in the cell, from 0 to 1; w and h are parts of the picture.
        targets: (x, y, sqrt w, sqrt h, o) and t, as of `nn.models.yolo_targets`, `(batch, grid, grid, 5 + classes)`.
        place: Weight of where a box is; may be swept.
        empty: Weight of confidence where there is nothing, as in most cells; may be swept.

    Returns:
        `(batch,)`: the sum over cells.

    Raises:
        ShapeError: The shapes are not these for any number of boxes.

    >>> wanted = jnp.array([0.5, 0.5, 0.4, 0.4, 1.0, 1.0]).reshape(1, 1, 1, 6)
    >>> found = jnp.array([0.5, 0.5, 0.4, 0.4, 0.9, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 11)
    >>> yolo_loss(found, wanted).round(4)  # (0.9 - 1)^2, and half of 1^2 for the box that is not there
    Array([0.51], dtype=float32)

    Source: Redmon et al., "You only look once" (2016), equation 3.
    """
    e, c, r, p, o = _parts(predictions, targets)
    place, empty = number(place, p), number(empty, p)
    found, missed = place * (e * e).sum(-1) + (c - 1) ** 2, empty * c * c
    wrong = (p * p).sum(-1)
    cells = (o[..., None] * r * (found - missed) + missed).sum(-1) + o * wrong
    return cells.sum((1, 2)).astype(predictions.dtype)


def yolo_loss_fwd(predictions, targets, *, place=5.0, empty=0.5):
    """Remember both."""
    return yolo_loss.plain(predictions, targets, place=place, empty=empty), (predictions, targets)


def yolo_loss_bwd(residuals, dl, *, place=5.0, empty=0.5):
    """Of each square twice its root, with its weights; and dl/do is what o is a factor of.

    dq_b = 2 place o r_b (q_b - q) and dq = -sum_b dq_b; dc_b = 2 o r_b (c_b - 1) + 2 empty (1 - o r_b) c_b;
    dp = 2 o (p - t) and dt = -dp; do = sum_b r_b (place |q_b - q|^2 + (c_b - 1)^2 - empty c_b^2) + |p - t|^2.
    """
    predictions, targets = residuals
    e, c, r, p, o = _parts(predictions, targets)
    place, empty, dl = number(place, p), number(empty, p), dl.astype(p.dtype)[:, None, None]
    found, missed = place * (e * e).sum(-1) + (c - 1) ** 2, empty * c * c
    ours = o[..., None] * r

    de = dl[..., None, None] * 2 * place * ours[..., None] * e
    dc = dl[..., None] * 2 * (ours * (c - 1) + empty * (1 - ours) * c)
    dp = dl[..., None] * 2 * o[..., None] * p
    do = dl * ((r * (found - missed)).sum(-1) + (p * p).sum(-1))

    d_boxes = jnp.concatenate([de, dc[..., None]], -1)
    d_boxes = d_boxes.reshape(*d_boxes.shape[:-2], d_boxes.shape[-2] * 5)
    d_predictions = jnp.concatenate([d_boxes, dp], -1)
    d_targets = jnp.concatenate([-de.sum(-2), do[..., None], -dp], -1)
    return d_predictions.astype(predictions.dtype), d_targets.astype(targets.dtype)


yolo_loss.defvjp(yolo_loss_fwd, yolo_loss_bwd)


def _parts(predictions, targets):
    """Errors of boxes, their confidences, which answers, errors of classes, and where there is an object."""
    predictions, targets = (a.astype(accumulator_dtype(a.dtype)) for a in (predictions, targets))
    n = (predictions.shape[-1] - targets.shape[-1]) // 5 + 1
    boxes = predictions[..., : 5 * n].reshape(*predictions.shape[:-1], n, 5)
    q_b, q = boxes[..., :4], targets[..., None, :4]
    best = _overlap(q_b, q, cells=targets.shape[1]).argmax(-1)
    r = jax.nn.one_hot(best, n, dtype=predictions.dtype)
    return q_b - q, boxes[..., 4], r, predictions[..., 5 * n :] - targets[..., 5:], targets[..., 4]


def _overlap(a, b, cells):
    """Intersection over union of boxes (x, y, sqrt w, sqrt h); 0 of two without area."""
    area_a, low_a, high_a = _extent(lax.stop_gradient(a), cells)
    area_b, low_b, high_b = _extent(lax.stop_gradient(b), cells)
    both = jnp.maximum(jnp.minimum(high_a, high_b) - jnp.maximum(low_a, low_b), 0).prod(-1)
    either = area_a + area_b - both
    return both / jnp.where(either > 0, either, 1)


def _extent(box, cells):
    """Area and corners; places are in cells, of which there are so many a side, and sizes in pictures."""
    middle, size = box[..., :2] / cells, box[..., 2:] ** 2
    return size.prod(-1), middle - size / 2, middle + size / 2
