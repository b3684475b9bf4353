"""A model with some of its layers changed, wherever they stand in its settings."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import jax

from jaxnn.layers._layer import Layer


def rewritten(part: Any, change: Callable[[Layer], Layer]) -> Any:
    """Return a layer in which every layer has been changed, those within before those around them.

    Args:
        part: A layer, or a setting of one: a dict, tuple or list with layers in it, or anything else, which stays.
        change: A function from layer to layer, which returns those that it does not mean.

    >>> import jaxnn as nn
    >>> wider = lambda layer: nn.Dense(2 * layer.features) if isinstance(layer, nn.Dense) else layer
    >>> rewritten(nn.serial(nn.Dense(8), nn.residual(nn.Dense(8))), wider)
    serial(Dense(16), residual(Dense(16)))
    """
    if isinstance(part, Layer):
        if is_dataclass(part):
            settings = {setting.name: getattr(part, setting.name) for setting in fields(part) if setting.init}
            part = replace(part, **rewritten(settings, change))
        return change(part)
    if isinstance(part, dict):
        return {name: rewritten(value, change) for name, value in part.items()}
    if isinstance(part, tuple | list):  # of names too
        return jax.tree.map(lambda value: rewritten(value, change), part, is_leaf=lambda value: value is not part)
    return part
