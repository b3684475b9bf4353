"""Detection on a grid: the head that puts out boxes, the targets it is to find, and the boxes that it means.

Dimensions: `batch` examples; `grid` rows of cells, and columns; `boxes` that a cell predicts; `classes` of objects.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Integer

from jaxnn.errors import ShapeError
from jaxnn.layers import AdaptiveAveragePool, Conv, Layer, serial
from jaxnn.typing import Array


def yolo_head(grid: int, boxes: int, classes: int) -> Layer:
    """Of a picture's features, for each cell of a grid, boxes of 5 numbers and a score for each class.

    It averages features over cells and maps each cell by itself, a convolution of 1x1. The paper's ends in dense
    layers, which tie it to one size of picture. Train it with `nn.losses.yolo_loss`.

    Shapes: `(batch, height, width, in)` to `(batch, grid, grid, boxes * 5 + classes)`.

    Args:
        grid: S, cells a side.
        boxes: B, that each cell predicts.
        classes: C, of which each cell predicts one.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> head, x = nn.models.yolo_head(7, 2, 20), jnp.zeros((1, 14, 14, 8))
    >>> y, _ = head.apply(*head.init(jax.random.key(0), x), x)
    >>> y.shape, y.size  # S S (B 5 + C)
    ((1, 7, 7, 30), 1470)

    Source: Redmon et al., "You only look once" (2016).
    """
    return serial(AdaptiveAveragePool((grid, grid)), Conv(boxes * 5 + classes, (1, 1)))


def yolo_targets(
    boxes: Float[Array, "objects 4"],
    labels: Integer[Array, " objects"],
    *,
    grid: int,
    classes: int,
    present: Bool[Array, " objects"] | None = None,
) -> Float[Array, "grid grid wanted"]:
    """What the cells are to say of a picture: the one that has an object's centre in it answers for the object.

    The object at (x, y) belongs to the cell in row floor(S y) and column floor(S x), and one on the far border to the
    last. Of several with centres in one cell the first is kept. For a batch, `jax.vmap` it.

    Args:
        boxes: Centre, width and height, (x, y, w, h), `(objects, 4)`, in parts of the picture: from 0 to 1.
        labels: The class of each, `(objects,)`, integers.
        grid: S, cells a side.
        classes: C.
        present: Which of the objects there are, `(objects,)`, for pictures with fewer than others; all if None.

    Returns:
        For each cell (x, y, sqrt w, sqrt h, 1) with x and y from the cell's own corner, in cells, and the class as
        one-hot; zeros in cells without an object: `(grid, grid, 5 + classes)`. It needs no more, for a cell answers
        for one object, however many boxes it predicts.

    Raises:
        ShapeError: There are not as many labels as boxes of 4 numbers.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> target = nn.models.yolo_targets(jnp.array([[0.5, 0.5, 0.25, 0.16]]), jnp.array([1]), grid=7, classes=2)
    >>> target.shape, target[3, 3], float(target[..., 4].sum())
    ((7, 7, 7), Array([0.5, 0.5, 0.5, 0.4, 1. , 0. , 1. ], dtype=float32), 1.0)

    Source: Redmon et al., "You only look once" (2016).
    """
    if boxes.shape != (*labels.shape, 4):
        raise ShapeError(f"boxes of shape {(*labels.shape, 4)}", why=f"labels are {tuple(labels.shape)}, and a box is "
                         "(x, y, w, h)", got=tuple(boxes.shape))  # fmt: skip
    centre, size = boxes[:, :2] * grid, boxes[:, 2:]
    corner = jnp.clip(jnp.floor(centre), 0, grid - 1)
    column, row = corner.astype(jnp.int32).T
    cell = row * grid + column
    there = jnp.ones(labels.shape, bool) if present is None else present
    same = (cell[:, None] == cell[None, :]) & there[None, :]
    first = there & (same.argmax(axis=1) == jnp.arange(labels.size))
    onehot = jax.nn.one_hot(labels, classes, dtype=boxes.dtype)
    wanted = jnp.concatenate([centre - corner, jnp.sqrt(size), jnp.ones_like(centre[:, :1]), onehot], axis=1)
    empty = jnp.zeros((grid, grid, 5 + classes), boxes.dtype)
    return empty.at[jnp.where(first, row, grid), column].set(wanted, mode="drop")


def yolo_boxes(
    predictions: Float[Array, "*batch grid grid numbers"], *, classes: int
) -> tuple[Float[Array, "*batch grid grid boxes 4"], Float[Array, "*batch grid grid boxes classes"]]:
    """The boxes that a head means, in parts of the picture, and how sure it is of each class in each.

    Args:
        predictions: As `yolo_head` puts them out, `(..., grid, grid, boxes * 5 + classes)`.
        classes: C.

    Returns:
        Centre, width and height of each box, (x, y, w, h), `(..., grid, grid, boxes, 4)`, and its confidence times
        the score of each class, `(..., grid, grid, boxes, classes)`.

    Raises:
        ShapeError: What is left beside the classes is not boxes of 5 numbers.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> target = nn.models.yolo_targets(jnp.array([[0.5, 0.75, 0.25, 0.16]]), jnp.array([1]), grid=7, classes=2)
    >>> boxes, scores = nn.models.yolo_boxes(target, classes=2)
    >>> boxes[5, 3, 0].round(4), scores[5, 3, 0]
    (Array([0.5 , 0.75, 0.25, 0.16], dtype=float32), Array([0., 1.], dtype=float32))

    Source: Redmon et al., "You only look once" (2016), equation 1.
    """
    *batch, rows, columns, numbers = predictions.shape
    n, rest = divmod(numbers - classes, 5)
    if n < 1 or rest:
        raise ShapeError(f"predictions (..., grid, grid, boxes * 5 + {classes})", why="a box is 5 numbers",
                         got=tuple(predictions.shape))  # fmt: skip
    box = predictions[..., : 5 * n].reshape(*batch, rows, columns, n, 5)
    corner = jnp.stack(jnp.meshgrid(jnp.arange(columns), jnp.arange(rows)), axis=-1).astype(predictions.dtype)
    side = jnp.array([columns, rows], predictions.dtype)
    corner, side = (jnp.broadcast_to(a, (*batch, rows, columns, n, 2)) for a in (corner[:, :, None], side))
    places = jnp.concatenate([(box[..., :2] + corner) / side, box[..., 2:4] ** 2], axis=-1)
    return places, box[..., 4:] * predictions[..., None, 5 * n :]
