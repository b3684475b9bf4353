"""GaLore: an optimizer whose state is of a few directions of each matrix."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnn.optim._adam import scale_by_adam
from jaxnn.optim._arithmetic import next_count, scaled
from jaxnn.optim._checks import check_at_least_1, check_count, check_number, check_real, known_count
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._matrix_view import MatrixView, dimension_numbers, matrix_view
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of a weight are the rows of its matrix, and which the columns: all must be named.

    Attributes:
        reduction_axis: The axis or axes of rows.
        output_axis: The axis or axes of columns.

    A projection from features to heads, of shape (features, heads, width):

    >>> GaLoreDimensionNumbers(0, (1, 2))
    GaLoreDimensionNumbers(reduction_axis=0, output_axis=(1, 2))
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class GaLoreState(NamedTuple):
    """State of `scale_by_galore`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - steps taken, shape (), int32; optax's name
    base_optimizer_state: Any  # that of the optimizer of projected gradients
    projector: Any  # P, (the longer side, rank) for a matrix, (0, 0) for other leaves


def scale_by_galore(
    rank: int | np.integer = 128,
    update_proj_gap: Scalar = 200,
    scale: Scalar = 1.0,
    base_optimizer: Optimizer | None = None,
    weight_dimension_numbers: Any = None,
) -> Optimizer:
    """Let another rule act on gradients that are projected on the first singular vectors of a past one.

    Of a matrix with at least as many rows as columns, R = P^T G, direction = scale P rule(R), and of others R = G P,
    direction = scale rule(R) P^T. In every `update_proj_gap`-th step, from the first, P becomes the first singular
    vectors of G on its longer side. What is no matrix goes to the rule as it is.

    P is taken as constant in derivatives, for singular vectors have none where values are equal, as those of a gradient
    of zero. They are computed in float32 at least, and for float64 in float64, where optax computes in float32.

    Args:
        rank: How many singular vectors are kept; no more than there are.
        update_proj_gap: How many steps a P is used. The state of the rule is kept as it was when P changes.
        scale: Multiplies the directions of matrices only; 0.25 in the paper.
        base_optimizer: The rule; Adam's if `None`. It gets no parameters: decay weights after it, as `galore` does.
        weight_dimension_numbers: Which leaves are matrices. `None`: those with two axes. `GaLoreDimensionNumbers`: all
            with two or more. Or a tree of them, with `None` for what is no matrix, or a function from a tree of arrays
            to that.

    Raises:
        ValueError: `rank` or `update_proj_gap` is a number below 1 or not whole, `rank` is a tracer, `scale` is a
            number below 0, or a parameter is not the matrix that dimension numbers say.

    >>> t = scale_by_galore(rank=1, base_optimizer=optax.identity())
    >>> g = jnp.array([[3.0, 0.0], [0.0, 4.0]])
    >>> abs(t.update(g, t.init(g))[0])
    Array([[0., 0.],
           [0., 4.]], dtype=float32)

    Source: Zhao et al., "GaLore: memory-efficient LLM training by gradient low-rank projection" (2024).
    """
    rule = scale_by_adam() if base_optimizer is None else base_optimizer
    check_number("it is the size of a step", scale=scale)
    check_count("it counts steps", update_proj_gap=update_proj_gap)
    check_at_least_1("a matrix of rank 0 moves nothing", rank=rank)
    rank = known_count("it is a shape", rank=rank)

    def view_of(x, numbers):
        view = matrix_view(x, *numbers)
        if view.batch != 1:
            raise ValueError(f"expected all axes to be named, because a parameter is one matrix; got {numbers} for "
                             f"shape {x.shape}")  # fmt: skip
        return view

    def size(view: MatrixView):
        return min(rank, view.rows, view.columns)

    def each(function, tree, *rest):
        numbers = dimension_numbers(weight_dimension_numbers, tree, GaLoreDimensionNumbers)
        return jax.tree.map(lambda x, n, *more: function(x, n and view_of(x, n), *more), tree, numbers, *rest)

    def projector(p, view):
        return jnp.zeros((0, 0) if view is None else (max(view.rows, view.columns), size(view)), p.dtype)

    def small(p, view):
        if view is None:
            return jnp.zeros_like(p)
        rows_are_longer = view.rows >= view.columns
        return jnp.zeros((size(view), view.columns) if rows_are_longer else (view.rows, size(view)), p.dtype)

    def init(params):
        inner = rule.init(each(small, params))
        return GaLoreState(jnp.zeros((), jnp.int32), inner, each(projector, params))

    def update(updates, state, params=None):
        del params
        check_real(updates)
        begins = state.count % jnp.asarray(update_proj_gap, jnp.int32) == 0

        def chosen(g, view, P):
            if view is None or not P.size:
                return P

            def vectors(G, _):
                left, _, right = jnp.linalg.svd(G, full_matrices=False)
                return (left[:, : size(view)] if view.rows >= view.columns else right[: size(view)].T).astype(P.dtype)

            return jax.lax.cond(begins, vectors, lambda _, P: P, *jax.lax.stop_gradient((_matrix(g, view), P)))

        def down(g, view, P):
            if view is None:
                return g
            G, P = _matrix(g, view), P.astype(accumulator_dtype(g.dtype))
            return (P.T @ G if view.rows >= view.columns else G @ P).astype(g.dtype)

        def up(g, view, P, R):
            if view is None:
                return R
            wide = accumulator_dtype(g.dtype)
            P, R = P.astype(wide), R.astype(wide)
            return view.back(scaled(scale, P @ R if view.rows >= view.columns else R @ P.T)).astype(g.dtype)

        P = each(chosen, updates, state.projector)
        directions, inner = rule.update(each(down, updates, P), state.base_optimizer_state, None)
        return each(up, updates, P, directions), GaLoreState(next_count(state.count), inner, P)

    return optax.GradientTransformation(init, update)


def galore(
    learning_rate: LearningRate,
    rank: int | np.integer = 128,
    update_proj_gap: Scalar = 200,
    scale: Scalar = 1.0,
    base_optimizer: Optimizer | None = None,
    weight_decay: Scalar | Schedule = 0.0,
    mask: Any = None,
    weight_dimension_numbers: Any = None,
) -> Optimizer:
    """GaLore, p <- p - learning_rate (u + weight_decay p), with u of `scale_by_galore`.

    With Adam's rule a matrix of m by n, m <= n, takes 2 m r + n r numbers of state instead of 2 m n.

    Args:
        learning_rate: A number, a tracer or a schedule.
        rank: How many singular vectors are kept, r.
        update_proj_gap: How many steps they are used.
        scale: Multiplies the directions of matrices only; 0.25 in the paper.
        base_optimizer: The rule for projected gradients, without parameters and without a learning rate; Adam's if
            `None`.
        weight_decay: Decoupled, multiplied by the learning rate.
        mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        weight_dimension_numbers: Which leaves are matrices, see `scale_by_galore`.

    Raises:
        ValueError: A number is not one of those above, or a parameter is not the matrix that dimension numbers say.

    >>> optimizer = galore(0.1, rank=2)
    >>> state = optimizer.init({"w": jnp.zeros((6, 4)), "b": jnp.zeros(4)})
    >>> state[0].projector["w"].shape, state[0].base_optimizer_state.mu["w"].shape
    ((6, 2), (2, 4))

    Source: Zhao et al., "GaLore: memory-efficient LLM training by gradient low-rank projection" (2024).
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def _matrix(g: Array, view: MatrixView) -> Array:
    (G,) = view.to(g).astype(accumulator_dtype(g.dtype))
    return G
