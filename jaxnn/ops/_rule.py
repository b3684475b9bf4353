"""A function with a hand-written backward that has forward mode too.

`jax.custom_vjp` tells JAX how to pull a cotangent back and not how to push a tangent through, so it has no `jax.jvp`.
Here JAX is told both. The derivative of a function at x is one linear map J of tangents,

    forward    y' = J x'        `along(x, x')`, which JAX derives of the plain function
    reverse    dx = J^T dy      `bwd(residuals, dy)`, which is written by hand

and that map is one operation to JAX, `push`, with `bwd` for its transpose. In reverse mode `along` is not even traced,
and the compiled program computes what that of `jax.custom_vjp` does; in forward mode no residuals are in it. A gradient
that is differentiated again is `fwd` and `bwd` as they are written.

The output itself comes from `fwd` in both modes; where `along` computes it on the way, forward mode does so twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxnn.typing import Residuals

Leaves = Sequence[Any]


def with_rule(
    function: Callable[..., Any],
    fwd: Callable[..., tuple[Any, Residuals]],
    bwd: Callable[[Residuals, Any], tuple[Any, ...]],
    along: Callable[[tuple[Any, ...], tuple[Any, ...]], Any],
) -> Callable[..., Any]:
    """Return the function, of which `jax.grad` uses the pair and `jax.jvp` uses `along`.

    Args:
        function: Of arrays, to an array or a tree of them, all floating.
        fwd: From the same to `(out, residuals)`.
        bwd: From `(residuals, d_out)` to a cotangent for each array, None where there is none.
        along: From the arrays and their tangents to the tangent of the output, linear in the tangents.

    >>> square = with_rule(
    ...     lambda x: x * x,
    ...     lambda x: (x * x, x),
    ...     lambda x, dy: (2 * x * dy,),
    ...     lambda arrays, tangents: 2 * arrays[0] * tangents[0],
    ... )
    >>> float(jax.grad(square)(3.0)), float(jax.jvp(square, (3.0,), (1.0,))[1])
    (6.0, 6.0)
    """

    def jvp(arrays, tangents):
        out, residuals = fwd(*arrays)
        kept, of_residuals = jax.tree.flatten(residuals)
        x, of_arrays = jax.tree.flatten(arrays)
        y, of_out = jax.tree.flatten(out)
        x, directions = list(map(_as_array, x)), list(map(_as_array, jax.tree.leaves(tangents)))
        moving = [i for i, direction in enumerate(directions) if not isinstance(direction, SymbolicZero)]

        def forward(kept, x, dx):
            still = lambda a: jnp.zeros_like(a) if jnp.issubdtype(a.dtype, jnp.inexact) else np.zeros(a.shape, float0)
            tangents = list(map(still, x))
            for i, direction in zip(moving, dx, strict=True):
                tangents[i] = direction
            with jax.default_matmul_precision(precision):
                return of_out.flatten_up_to(along(of_arrays.unflatten(x), of_arrays.unflatten(tangents)))

        dtypes = [directions[i].dtype for i in moving]
        # JAX traces both later, when a context that is in force here may have been left.
        precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]

        def backward(kept, dy):
            with jax.default_matmul_precision(precision):
                d_x = of_arrays.flatten_up_to(bwd(of_residuals.unflatten(kept), of_out.unflatten(dy)))
            asked = [d_x[i] for i in moving]
            # Arrays of several dtypes may have been promoted; each cotangent is of its array's.
            return [d if d is None else d.astype(dtype) for d, dtype in zip(asked, dtypes, strict=True)]

        derivative = Derivative(forward, backward, (len(kept), len(x)), tuple(map(jax.typeof, y)))
        x = [_as_varied(a, y) if i in moving else a for i, a in enumerate(x)]
        dy = push.bind(*kept, *x, *(_as_varied(directions[i], y) for i in moving), derivative=derivative)
        return out, of_out.unflatten(dy)

    ruled = jax.custom_jvp(function)
    ruled.defjvp(jvp, symbolic_zeros=True)
    return ruled


def _as_array(leaf):
    """The leaf, which may be a number of Python's, as an array; what does not move stays as it is."""
    return leaf if hasattr(leaf, "dtype") or isinstance(leaf, SymbolicZero) else jnp.asarray(leaf)


def _as_varied(a, y):
    """The array or direction, said to differ between the devices of `jax.shard_map` where the outputs do.

    So a cotangent is asked for that does too, and JAX adds up those of all devices where they share the array.
    """
    varying = lambda a: jax.typeof(a).manual_axis_type.varying
    axes = frozenset().union(*map(varying, y)) - varying(a)
    return lax.pcast(a, tuple(axes), to="varying") if axes else a


@dataclass(frozen=True)
class Derivative:
    """A linear map, and its transpose.

    Its operands are the leaves of what is remembered, of the arrays, and of the tangents of those that move. Only the
    transpose needs the first, and only the map needs the second.

    Attributes:
        forward: From the three, as lists, to the tangents of the outputs, as a list.
        backward: From the first, and the cotangents of the outputs, to those of what moves; None where there is none.
        sizes: How many leaves the first two have.
        out: The types of the outputs.
    """

    forward: Callable[[Leaves, Leaves, Leaves], Leaves]
    backward: Callable[[Leaves, Leaves], Leaves]
    sizes: tuple[int, int]
    out: tuple[Any, ...]

    def divide(self, operands: Leaves) -> tuple[list[Any], list[Any], list[Any]]:
        """Return the three parts."""
        kept, x = self.sizes
        return list(operands[:kept]), list(operands[kept : kept + x]), list(operands[kept + x :])

    def __call__(self, *operands: Any) -> Leaves:
        """Apply the map."""
        return self.forward(*self.divide(operands))


push = Primitive("push")
push.multiple_results = True
push.def_impl(lambda *operands, derivative: derivative(*operands))
push.def_abstract_eval(lambda *operands, derivative: derivative.out)
mlir.register_lowering(push, mlir.lower_fun(lambda *operands, derivative: derivative(*operands), multiple_results=True))


def _transposed(dy, *operands, derivative):
    """The backward as it is written: what differentiates a gradient differentiates that."""
    kept, x, dx = derivative.divide(operands)
    d_dx = derivative.backward(kept, [ad.instantiate_zeros(d) for d in dy])
    none = [None] * (len(kept) + len(x))
    asked = lambda d, direction: ad.Zero(direction.aval) if d is None else d
    return none + [asked(*pair) if ad.is_undefined_primal(pair[1]) else None for pair in zip(d_dx, dx, strict=True)]


def _along_a_direction(operands, tangents, *, derivative):
    """J x' is linear in x'; how J itself changes with x, only `forward` can tell."""
    kept, x, dx = derivative.divide(operands)
    _, x_dot, dx_dot = derivative.divide(tangents)
    y, terms = push.bind(*operands, derivative=derivative), []
    if any(map(_moves, dx_dot)):
        terms.append(push.bind(*kept, *x, *map(ad.instantiate_zeros, dx_dot), derivative=derivative))
    moving = [i for i, t in enumerate(x_dot) if _moves(t)]
    if moving:

        def of_moving(*some):
            whole = list(x)
            for i, a in zip(moving, some, strict=True):
                whole[i] = a
            return tuple(derivative.forward(kept, whole, dx))

        terms.append(jax.jvp(of_moving, [x[i] for i in moving], [x_dot[i] for i in moving])[1])
    return y, [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _moves(tangent):
    return not isinstance(tangent, ad.Zero)


def _mapped(operands, axes, *, derivative):
    """The same of many members at once, which lie along axis 0 of what differs between them."""
    front = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(operands, axes, strict=True)]
    members = next(a.shape[0] for a, axis in zip(front, axes, strict=True) if axis is not None)
    kept, x, dx = derivative.divide([None if axis is None else 0 for axis in axes])

    def backward(residuals, dy):
        d_dx = jax.vmap(derivative.backward, (kept, 0))(residuals, dy)
        return [d.sum(0) if axis is None and d is not None else d for d, axis in zip(d_dx, dx, strict=True)]

    out = tuple(y.update(shape=(members, *y.shape)) for y in derivative.out)
    of_all = Derivative(jax.vmap(derivative.forward, (kept, x, dx)), backward, derivative.sizes, out)
    return push.bind(*front, derivative=of_all), [0] * len(out)


ad.primitive_transposes[push] = _transposed
ad.primitive_jvps[push] = _along_a_direction
batching.primitive_batchers[push] = _mapped
