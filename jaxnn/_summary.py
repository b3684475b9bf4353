"""Summary of a model: what each layer puts out, and what it costs, without computing anything."""

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax

from jaxnn import tree
from jaxnn._table import binary_size, table
from jaxnn.errors import describe
from jaxnn.layers._combinators import Repeat
from jaxnn.layers._layer import Call, Layer, LayerLike, as_layer, observe, outline


class LayerSummary(NamedTuple):
    """One row: a layer that holds no named others."""

    path: str  # names of the layers on the way, joined by "/"; "" if the model is this layer
    layer: Layer
    copies: int  # how many there are, in `repeat`
    output: Any  # shape and dtype of what it puts out
    parameters: int  # elements of its parameters, all copies together
    nbytes: int  # bytes of them
    hand: bool  # whether its backward is written by hand


@final
@dataclass(frozen=True)
class Summary:
    """The rows of a summary and its totals, as `summary` makes them; printed, a table."""

    rows: tuple[LayerSummary, ...]
    parameters: int
    nbytes: int
    state: int

    def __str__(self) -> str:
        header = ["path", "layer", "output", "parameters", "size", "backward"]
        rows = [
            [
                row.path,
                f"{row.copies} x {row.layer!r}" if row.copies > 1 else repr(row.layer),
                describe(row.output),
                f"{row.parameters:,}",
                binary_size(row.nbytes),
                "hand" if row.hand else "auto",
            ]
            for row in self.rows
        ]
        totals = f"{self.parameters:,} parameters, {binary_size(self.nbytes)}; state: {self.state:,} values"
        return f"{table(header, rows, align='<<<>><')}\n{totals}"

    __repr__ = __str__


def summary(model: LayerLike, x: Any) -> Summary:
    """Return a table of the model's layers for inputs like `x`; nothing is allocated or computed.

    Args:
        model: A layer.
        x: An input or its `ShapeDtypeStruct`, batch axis included.

    Returns:
        A value that prints as a table: path, layer, output, number and bytes of parameters, and whether the
        backward is written by hand or JAX's own.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.summary(nn.serial(nn.Dense(64), nn.relu, nn.Dense(10)), jnp.zeros((32, 784)))
    path     layer      output          parameters       size  backward
    -------  ---------  --------------  ----------  ---------  --------
    dense_0  Dense(64)  float32[32,64]      50,240  196.2 KiB  hand
    relu_0   relu       float32[32,64]           0        0 B  hand
    dense_1  Dense(10)  float32[32,10]         650    2.5 KiB  hand
    50,890 parameters, 198.8 KiB; state: 0 values
    """
    layer, x = as_layer(model), outline(x)
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    with observe() as calls:
        y, _ = jax.eval_shape(layer.apply, params, state, x)
    calls = [Call("", layer, x, y), *calls]
    within = {call.path.rpartition("/")[0] for call in calls[1:]}
    rows = []
    for call in calls:
        if call.path in within:
            continue
        own = _at(params, call.path)
        rows.append(
            LayerSummary(
                call.path,
                call.layer,
                _copies(calls, call.path),
                outline(call.y),
                tree.count(own),
                tree.nbytes(own),
                call.layer.hand,
            )
        )
    return Summary(tuple(rows), tree.count(params), tree.nbytes(params), tree.count(state))


def _at(params: Any, path: str) -> Any:
    for name in path.split("/") if path else ():
        params = params[name]
    return params


def _copies(calls: list[Call], path: str) -> int:
    copies = 1
    for call in calls:
        holds = call.path == "" or path == call.path or path.startswith(f"{call.path}/")
        layer = call.layer if holds and call.path != path else None
        while layer is not None:
            copies *= layer.n if isinstance(layer, Repeat) else 1
            layer = layer.children.get("")
    return copies
