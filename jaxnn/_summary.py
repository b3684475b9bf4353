"""Summary of a model: what each layer puts out, what it costs and what it sees, without computing anything."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import jax

from jaxnn import tree
from jaxnn._programs._costs import multiply_adds, nbytes_out
from jaxnn._programs._dependence import Seen, follow
from jaxnn._receptive_field import ReceptiveField, field, seen_by_inputs, spatial_axes
from jaxnn._table import binary_size, short_count, table
from jaxnn.errors import describe
from jaxnn.layers._combinators import Repeat
from jaxnn.layers._ensemble import Ensemble
from jaxnn.layers._layer import Call, Layer, LayerLike, as_layer, observe, outline
from jaxnn.ops import plain


class LayerSummary(NamedTuple):
    """One row: a layer that holds no named others. What is counted is of all copies together."""

    path: str  # names of the layers on the way, joined by "/"; "" if the model is this layer
    layer: Layer
    copies: int  # how many there are, in `repeat`
    output: Any  # shape and dtype of what it puts out
    parameters: int  # elements of its parameters
    nbytes: int  # bytes of them
    multiply_adds: int  # of its matrix products and convolutions
    activations: int  # bytes of what it puts out
    field: ReceptiveField | None  # what its output sees of x, of the last copy; None if x has no spatial axes
    hand: bool  # whether its backward is written by hand


@final
@dataclass(frozen=True)
class Summary:
    """The rows of a summary and its totals, as `summary` makes them; printed, a table."""

    rows: tuple[LayerSummary, ...]
    parameters: int  # elements of all parameters
    nbytes: int  # bytes of them
    state: int  # elements of what layers carry but do not learn
    multiply_adds: int  # in inference, for all of x
    activations: int  # bytes of what all rows put out
    remembered: int | None  # bytes that `fwd` keeps for `bwd`, beside x and parameters; None if not trainable
    examples: int  # in x

    def __str__(self) -> str:
        columns = [
            ("path", "<", [row.path for row in self.rows]),
            ("layer", "<", [f"{r.copies} x {r.layer!r}" if r.copies > 1 else repr(r.layer) for r in self.rows]),
            ("output", "<", [describe(row.output) for row in self.rows]),
            ("bytes", ">", [binary_size(row.activations) for row in self.rows]),
            ("parameters", ">", [f"{row.parameters:,}" for row in self.rows]),
            ("mult-adds", ">", [short_count(row.multiply_adds) for row in self.rows]),
        ]
        if any(row.field for row in self.rows):
            columns.append(("sees", ">", [str(row.field or "") for row in self.rows]))
            columns.append(("jump", ">", [row.field.steps if row.field else "" for row in self.rows]))
        columns.append(("backward", "<", ["hand" if row.hand else "auto" for row in self.rows]))
        header, align, cells = zip(*columns, strict=True)
        each = f" ({short_count(self.multiply_adds // self.examples)} an example)" if self.examples > 1 else ""
        kept = "not trainable" if self.remembered is None else f"{binary_size(self.remembered)} remembered in training"
        return "\n".join([
            table(header, list(zip(*cells, strict=True)), align="".join(align)),
            f"{self.parameters:,} parameters, {binary_size(self.nbytes)}; state: {self.state:,} values",
            f"{short_count(self.multiply_adds)} mult-adds{each}; {binary_size(self.activations)} of outputs; {kept}",
        ])  # fmt: skip

    __repr__ = __str__


def summary(model: LayerLike, x: Any) -> Summary:
    """Return a table of the model's layers for inputs like `x`; nothing is allocated or computed.

    All numbers are for x as it is given, with all its examples.

    Args:
        model: A layer.
        x: An input or its `ShapeDtypeStruct`, batch axis included.

    Returns:
        A value that prints as a table, with a row for each layer that holds no named others:

        * path, layer, what it puts out and the bytes of that, number of parameters;
        * mult-adds, the products of two numbers that matrix products and convolutions add up in inference: taps that
          lie on padding are counted, what goes element by element is not;
        * where x has spatial axes, how many of its positions one position of the output sees, and how far apart those
          lie that neighbours see: see `receptive_field`; `all` where the output has no positions any more;
        * whether the backward is written by hand or JAX's own.

        Below it stand the totals, and the bytes that a training step remembers between forward and backward: each
        array that the model's `fwd` keeps for its `bwd`, once, beside x and the parameters. A compiler may do better.
        Of a model that runs but has no derivative in JAX, or says by NotImplementedError that it does not train, it
        says `not trainable`.

    Raises:
        ShapeError: A layer cannot take what the one before it gives.
        Exception: Whatever a layer raises, in inference or in training.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> nn.summary(nn.serial(nn.Dense(64), nn.relu, nn.Dense(10)), jnp.zeros((32, 784)))
    path     layer      output            bytes  parameters  mult-adds  backward
    -------  ---------  --------------  -------  ----------  ---------  --------
    dense_0  Dense(64)  float32[32,64]  8.0 KiB      50,240       1.6M  hand
    relu_0   relu       float32[32,64]  8.0 KiB           0          0  hand
    dense_1  Dense(10)  float32[32,10]  1.2 KiB         650      20.5K  hand
    50,890 parameters, 198.8 KiB; state: 0 values
    1.6M mult-adds (50.8K an example); 17.2 KiB of outputs; 10.0 KiB remembered in training
    >>> nn.summary(nn.serial(nn.Conv(20, (3, 3)), nn.relu, nn.MaxPool((2, 2))), jnp.zeros((1, 28, 28, 3)))
    path        layer                    output                  bytes  parameters  mult-adds    sees  jump  backward
    ----------  -----------------------  -------------------  --------  ----------  ---------  ------  ----  --------
    conv_0      Conv(20, window=(3, 3))  float32[1,28,28,20]  61.2 KiB         560     423.4K   3x3=9     1  hand
    relu_0      relu                     float32[1,28,28,20]  61.2 KiB           0          0   3x3=9     1  hand
    max_pool_0  MaxPool((2, 2))          float32[1,14,14,20]  15.3 KiB           0          0  4x4=16     2  hand
    560 parameters, 2.2 KiB; state: 0 values
    423.4K mult-adds; 137.8 KiB of outputs; 26.8 KiB remembered in training
    """
    layer, x = as_layer(model), outline(x)
    params, state = jax.eval_shape(lambda: layer.init(jax.random.key(0), x))
    with observe() as calls, plain():
        program, y = jax.make_jaxpr(lambda *a: layer.apply(*a)[0], return_shape=True)(params, state, x)
    calls = [Call("", layer, params, state, x, y), *calls]
    seen = _seen(program.jaxpr, params, state, x)
    within = {call.path.rpartition("/")[0] for call in calls[1:]}
    rows = tuple(_row(call, _copies(calls, call.path), seen, x) for call in calls if call.path not in within)
    return Summary(
        rows,
        tree.count(params),
        tree.nbytes(params),
        tree.count(state),
        multiply_adds(program.jaxpr),
        sum(row.activations for row in rows),
        _remembered(layer, params, state, x),
        next((leaf.shape[0] for leaf in jax.tree.leaves(x) if leaf.shape), 0),
    )


def _row(call: Call, copies: int, seen: dict[str, Seen], x: Any) -> LayerSummary:
    y = outline(call.y)
    with plain():
        program = jax.make_jaxpr(lambda *a: call.layer.apply(*a)[0])(call.params, call.state, call.x)
    return LayerSummary(
        call.path,
        call.layer,
        copies,
        y,
        copies * tree.count(call.params),
        copies * tree.nbytes(call.params),
        copies * multiply_adds(program.jaxpr),
        copies * tree.nbytes(y),
        field(seen.get(call.path), y, x),
        call.layer.hand,
    )


def _seen(program: Any, params: Any, state: Any, x: Any) -> dict[str, Seen]:
    """What the output of each layer sees of x, by path, where it is one array and x has spatial axes."""
    seen: dict[str, Seen] = {}
    if spatial_axes(x):
        outputs = follow(program, seen_by_inputs(params, state, x), seen)
        seen[""] = outputs[0] if outputs else None
    return seen


def _remembered(layer: Layer, params: Any, state: Any, x: Any) -> int | None:
    """The bytes that `fwd` keeps in training; `None` if the model is one that is only ever applied."""

    def residuals(fwd):
        trained = lambda params, state, x: fwd(params, state, x, key=jax.random.key(0), train=True)[1]
        return jax.make_jaxpr(trained)(params, state, x).jaxpr

    try:
        return nbytes_out(residuals(layer.fwd))
    except NotImplementedError:  # JAX knows no derivative of an operation, or a layer no training
        return None
    except ValueError:
        # So says JAX of callbacks. But if it can differentiate what `apply` does, it was not JAX that said so.
        jax.eval_shape(lambda *a: layer.apply(*a, key=jax.random.key(0), train=True), params, state, x)
        try:
            residuals(partial(Layer.fwd, layer))
        except ValueError:
            return None
        raise


def _copies(calls: list[Call], path: str) -> int:
    copies = 1
    for call in calls:
        holds = call.path == "" or path == call.path or path.startswith(f"{call.path}/")
        layer = call.layer if holds and call.path != path else None
        while layer is not None:
            copies *= layer.n if isinstance(layer, Repeat) else layer.members if isinstance(layer, Ensemble) else 1
            layer = layer.children.get("")
    return copies
