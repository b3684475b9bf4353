"""A model with some of its layers changed: all of a kind, wherever they stand in its settings, or one by its name."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import jax

from jaxnn.layers._layer import Layer, LayerLike, as_layer


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


def replace_layer(model: LayerLike, name: str, layer: LayerLike) -> Layer:
    """Return the model with another layer in the place of the one of that name, such as a head for other classes.

    The name is that of its parameters without their last part: `"head"`, or `"stem/conv_0"` of a layer within a layer.
    So what adds no level of names (`residual`, `repeat`, `remat`) is passed through, and in `repeat` the layer is
    replaced in all copies. The name stays, and so do the names, and with them the parameters, of all other layers.
    With an empty `serial()` in the place of its head a model puts out the features that the head has seen.

    A model holds no parameters: `nn.transfer` begins a run of the new one with those that the old one has learnt.

    Args:
        model: A layer with layers in it; it is not changed.
        name: Whose place to take.
        layer: What takes it.

    Raises:
        ValueError: There is no layer of this name; the message lists those that there are.
        TypeError: The layer of this name is none of the settings of the one around it, which makes it itself.

    >>> import jaxnn as nn
    >>> model = nn.serial(stem=nn.serial(nn.Dense(64), nn.relu), head=nn.Dense(10))
    >>> replace_layer(model, "head", nn.Dense(5))
    serial(stem=serial(Dense(64), relu), head=Dense(5))
    >>> replace_layer(model, "stem/relu_0", nn.serial(nn.tanh, nn.Dropout(0.5)))
    serial(stem=serial(Dense(64), relu_0=serial(tanh, Dropout(0.5))), head=Dense(10))
    """
    model, layer = as_layer(model), as_layer(layer)
    replaced = _replaced(model, tuple(name.split("/")), layer)
    if replaced is None:
        there = ", ".join(_names(model)) or "none"
        raise ValueError(f"expected the name of a layer of the model, because it is replaced; got {name!r}, and there "
                         f"are: {there}")  # fmt: skip
    return replaced


def _replaced(parent: Layer, path: tuple[str, ...], layer: Layer) -> Layer | None:
    """Return `parent` with another layer at the end of `path`; `None` if the path leads nowhere."""
    for name, child in parent.children.items():
        if name not in ("", path[0]):
            continue
        rest = path[1:] if name else path
        new = _replaced(child, rest, layer) if rest else layer
        if new is not None:
            return _with_child(parent, name, new)
    return None


def _with_child(parent: Layer, name: str, child: Layer) -> Layer:
    """Return `parent` with another child of that name, and with what it has for all others.

    Raises:
        TypeError: The child is none of its settings, or another child comes from the same one.
    """
    old = parent.children

    def put(value: Any) -> Any:
        if isinstance(value, tuple):  # names and layers
            return tuple((name, child) if pair == (name, old[name]) else pair for pair in value)
        return child if value is old[name] else value

    settings = {}
    if is_dataclass(parent):
        settings = {setting.name: getattr(parent, setting.name) for setting in fields(parent) if setting.init}
    if settings.get(name) is old[name]:
        settings = {name: child}
    else:
        settings = {setting: put(value) for setting, value in settings.items()}
    replaced = replace(parent, **settings) if is_dataclass(parent) else parent
    expected = {**old, name: child}
    if all(new is expected[key] or new == expected[key] for key, new in replaced.children.items()):
        return replaced
    raise TypeError(f"expected a layer that is a setting of the one around it, because it is replaced there; got "
                    f"{name!r}, which {parent!r} makes itself\n  hint: replace {parent.name!r} as a whole")  # fmt: skip


def _names(layer: Layer, within: str = "") -> Iterator[str]:
    """Yield the names of all layers within, those of a layer after its own."""
    for name, child in layer.children.items():
        if name:
            yield f"{within}{name}"
        yield from _names(child, f"{within}{name}/" if name else within)
