"""What a prediction and its target must have in common."""

from jaxnn.errors import ShapeError
from jaxnn.typing import AnyArray


def check_same_shape(prediction: AnyArray, target: AnyArray) -> None:
    """Raise an error unless both have one shape: a loss does not broadcast."""
    if prediction.shape != target.shape:
        squeezed = [s for s in (prediction.shape, target.shape) if s[-1:] == (1,)]
        raise ShapeError(
            f"prediction and target of one shape, {tuple(target.shape)}",
            why="broadcasting would compare every prediction with every target",
            got=f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)}",
            hint="drop the last axis: prediction[..., 0], or keep it in both" if squeezed else None,
        )
