"""Muon: a velocity whose matrices are made nearly orthogonal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.optim._adam import adamw
from jaxnn.optim._arithmetic import average, cast_like, next_count, root, scaled
from jaxnn.optim._checks import check_decay, check_number, check_real, known_count
from jaxnn.optim._combining import chain
from jaxnn.optim._learning_rate import LearningRate, scale_by_learning_rate
from jaxnn.optim._matrix_view import dimension_numbers, matrix_view
from jaxnn.optim._moments import mean_ahead
from jaxnn.optim._optimizer import Optimizer
from jaxnn.optim._weight_decay import add_decayed_weights
from jaxnn.typing import Array, Scalar, Schedule, accumulator_dtype

_COEFFICIENTS = {
    "standard": (3.4445, -4.7750, 2.0315),
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
_PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a weight are the rows and columns of its matrix w in x @ w; all others count matrices.

    Attributes:
        reduction_axis: The axis or axes of rows.
        output_axis: The axis or axes of columns.

    A projection from features to heads, of shape (features, heads, width), as one matrix, and as one for each head:

    >>> MuonDimensionNumbers(0, (1, 2)), MuonDimensionNumbers(0, 2)
    (MuonDimensionNumbers(reduction_axis=0, output_axis=(1, 2)), MuonDimensionNumbers(reduction_axis=0, output_axis=2))
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class MuonState(NamedTuple):
    """State of `scale_by_muon`."""

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride] - t, shape (), int32; optax's name
    mu: Any  # m, like the parameters
    ns_coeffs: Array  # (a, b, c), shape (3,), or one for each iteration, (n, 3)


def scale_by_muon(
    ns_coeffs: Any = _COEFFICIENTS["standard"],
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: Any = None,
) -> Optimizer:
    """Replace the singular values of a running mean of gradients by numbers near 1.

    m <- beta m + (1 - beta) g, m^ = m / (1 - beta^t), t from 1, X = m^ / (|m^| + eps), and then some times
    X <- a X + (b A + c A A) X with A = X X^T: an odd polynomial of the singular values, that of Newton and Schulz. With
    the usual a, b, c it does not converge, but soon brings all to between about 0.7 and 1.2. It is computed in float32
    at least; in optax, in the dtype of the gradients.

    Args:
        ns_coeffs: (a, b, c), or one such triple for each iteration. Numbers or tracers.
        ns_steps: How often to iterate with one triple, an integer from 1. Of several each is one iteration, and there
            may be no more.
        beta: Decay of m.
        eps: Added to the norm. "aol" and "schatten" have 1e-8 of their own.
        mu_dtype: Dtype of m; that of the parameters if `None`.
        nesterov: Use beta m_t / (1 - beta^(t+1)) + (1 - beta) g / (1 - beta^t) for m^.
        adaptive: Whether to multiply by the inner product of m^ with the direction.
        preconditioning: What X is divided by at first: "frobenius" or "spectral", a norm; "aol", each row by the root
            of the sum of |A| along it, which turns singular vectors a little; "schatten", the root of the norm of A.
        weight_dimension_numbers: `MuonDimensionNumbers` for all, or a tree of them, or a function from a tree of
            arrays to that. With `None` all parameters are matrices.

    Raises:
        ValueError: A number or a name is not one of those above, or a parameter has fewer than two axes.

    >>> t = scale_by_muon(ns_coeffs=(1.5, -0.5, 0.0), ns_steps=30)
    >>> m = jnp.array([[3.0, 0.0], [0.0, -4.0]])
    >>> t.update(m, t.init(m))[0].round(4)
    Array([[ 1.,  0.],
           [ 0., -1.]], dtype=float32)

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); adaptive: Bernstein and
    Newhouse, "Old optimizer, new norm" (2024); aol: Boissin et al., "Turbo-Muon" (2025); schatten: Grishina et al.,
    "Accelerating Newton-Schulz iteration for orthogonalization via Chebyshev-type polynomials" (2025).
    """
    check_decay("a mean must forget", beta=beta)
    check_number("it keeps a divisor from 0", eps=eps)
    shape = jnp.shape(jnp.asarray(ns_coeffs))
    if shape[-1:] != (3,) or len(shape) > 2:
        raise ValueError(f"expected ns_coeffs of shape (3,) or (n, 3), because each iteration has three; got {shape}")
    ns_steps = known_count("without a step nothing is made orthogonal", ns_steps=ns_steps)
    if len(shape) == 2 and shape[0] > ns_steps:
        raise ValueError(
            f"expected ns_steps of {shape[0]} or more, because there are so many ns_coeffs; got {ns_steps}"
        )
    if preconditioning not in _PRECONDITIONINGS:
        raise ValueError(f"expected preconditioning among {', '.join(_PRECONDITIONINGS)}, because there are no others; "
                         f"got {preconditioning!r}")  # fmt: skip

    def init(params):
        mu = jax.tree.map(lambda p: jnp.zeros_like(p, mu_dtype), params)
        return MuonState(jnp.zeros((), jnp.int32), mu, jnp.array(ns_coeffs))

    def update(updates, state, params=None):
        del params
        check_real(updates)
        t = next_count(state.count)
        mu = jax.tree.map(lambda m, g: average(m, g, beta), state.mu, updates)
        triples = state.ns_coeffs if state.ns_coeffs.ndim == 2 else [state.ns_coeffs] * ns_steps

        def direction(g, m, numbers):
            m_hat = mean_ahead(m, g, beta, t, nesterov).astype(accumulator_dtype(g.dtype))
            view = matrix_view(g, *(numbers or MuonDimensionNumbers()))
            x = view.back(_orthogonalized(view.to(m_hat), triples, preconditioning, eps))
            return ((m_hat * x).sum() * x if adaptive else x).astype(g.dtype)

        numbers = jax.tree.map(lambda _: None, updates) if weight_dimension_numbers is None else (
            dimension_numbers(weight_dimension_numbers, updates, MuonDimensionNumbers))  # fmt: skip
        return jax.tree.map(direction, updates, mu, numbers), MuonState(t, cast_like(mu, state.mu), state.ns_coeffs)

    return optax.GradientTransformation(init, update)


def muon(
    learning_rate: LearningRate,
    ns_coeffs: Any = _COEFFICIENTS["standard"],
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    weight_decay: Scalar | Schedule = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: Scalar = 0.9,
    adam_b2: Scalar = 0.999,
    adam_eps_root: Scalar = 0.0,
    adam_weight_decay: Scalar | Schedule = 0.0,
    adam_learning_rate: LearningRate | None = None,
    muon_weight_dimension_numbers: Any = None,
    consistent_rms: Scalar | None = None,
) -> Optimizer:
    """Muon for matrices and AdamW for all else, p <- p - learning_rate (s X + weight_decay p), X of `scale_by_muon`.

    s = sqrt(max(1, columns / rows)) of x @ w, or consistent_rms sqrt(max(rows, columns)).

    Args:
        learning_rate: A number, a tracer or a schedule.
        ns_coeffs: Coefficients of the iteration, see `scale_by_muon`, or "standard", or "dion", which has five.
        ns_steps: How often to iterate.
        beta: Decay of the mean of gradients.
        eps: Added to the norm of a matrix, and outside the root of Adam.
        weight_decay: Of the matrices: a number, a tracer or a schedule, multiplied by the learning rate.
        weight_decay_mask: A tree of bools over the parameters, or a function from parameters to one: what decays.
        mu_dtype: Dtype of the mean; that of the parameters if `None`.
        nesterov: Whether to look ahead by one step; for Adam too.
        adaptive: Whether to multiply by the inner product of the mean with the direction.
        preconditioning: What a matrix is divided by at first, see `scale_by_muon`.
        adam_b1: Decay of the mean of the other gradients.
        adam_b2: Decay of the mean of their squares.
        adam_eps_root: Added inside the root of Adam.
        adam_weight_decay: Of the other parameters.
        adam_learning_rate: Of the other parameters; the same if `None`.
        muon_weight_dimension_numbers: A tree of `MuonDimensionNumbers` over the parameters, which may be a prefix of
            theirs, or a function from parameters to one; `None` in it leaves a parameter to AdamW. By default
            parameters with two axes are matrices: leave out embeddings and the last layer, as the authors do.
        consistent_rms: The root mean square of a step, as that of Adam is about 0.2; with `None` the first s is used.

    Raises:
        ValueError: A number or a name is not one of those above.

    >>> import jax
    >>> optimizer, params = muon(0.5, nesterov=False), {"w": 3 * jnp.eye(2), "b": jnp.ones(2)}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> jax.tree.map(lambda u: u.round(2), updates)
    {'b': Array([-0.5, -0.5], dtype=float32), 'w': Array([[-0.55, -0.  ],
           [-0.  , -0.55]], dtype=float32)}

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); consistent_rms: Liu et al.,
    "Muon is scalable for LLM training" (2025); dion: Ahn et al., "Dion: distributed orthonormalized updates" (2025).
    """
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in _COEFFICIENTS:
            raise ValueError(f"expected ns_coeffs among {', '.join(_COEFFICIENTS)}, or numbers, because there are no "
                             f"others; got {ns_coeffs!r}")  # fmt: skip
        ns_coeffs = _COEFFICIENTS[ns_coeffs]
    check_number("it is the size of a step", consistent_rms=consistent_rms)

    def numbers(tree):
        return dimension_numbers(muon_weight_dimension_numbers, tree, MuonDimensionNumbers)

    def rules(params):
        return jax.tree.map(lambda _, numbers: "adam" if numbers is None else "muon", params, numbers(params))

    matrices = chain(
        scale_by_muon(
            ns_coeffs,
            ns_steps,
            beta,
            eps,
            mu_dtype,
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=numbers,
        ),
        _scale_by_shape(numbers, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        mu_dtype,
        adam_weight_decay,
        nesterov=nesterov,
    )
    return optax.partition({"muon": matrices, "adam": others}, rules)


def _scale_by_shape(numbers, consistent_rms: Scalar | None) -> Optimizer:
    def update(updates, state, params=None):
        del params

        def direction(x, numbers):
            view = matrix_view(x, *numbers)
            if consistent_rms is not None:
                return scaled(jnp.asarray(consistent_rms) * max(view.rows, view.columns) ** 0.5, x)
            return scaled(max(1, view.columns / max(view.rows, 1)) ** 0.5, x)

        return jax.tree.map(direction, updates, numbers(updates)), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _orthogonalized(x: Array, triples: Any, preconditioning: str, eps: Scalar) -> Array:
    """Iterate on matrices, shape (batch, rows, columns), of which the smaller side is multiplied out."""
    if not x.size:
        return x
    turn = x.shape[1] > x.shape[2]
    x = x.swapaxes(1, 2) if turn else x
    eps = jnp.asarray(eps, x.dtype)
    if preconditioning == "frobenius":
        x = x / (root(jnp.square(x).sum((1, 2), keepdims=True)) + eps)
    elif preconditioning == "spectral":
        x = x / (jnp.linalg.norm(x, 2, (1, 2), keepdims=True) + eps)
    for i, triple in enumerate(triples):
        a, b, c = triple.astype(x.dtype)
        A = x @ x.swapaxes(1, 2)
        if i == 0 and preconditioning in ("aol", "schatten"):
            size = (jnp.abs(A).sum(2, keepdims=True) if preconditioning == "aol" else
                    root(jnp.square(A).sum((1, 2), keepdims=True)))  # fmt: skip
            s = jax.lax.rsqrt(jnp.maximum(size, jnp.asarray(1e-8, x.dtype)))
            x, A = x * s, A * s * s.swapaxes(1, 2)
        x = a * x + (b * A + c * A @ A) @ x
    return x.swapaxes(1, 2) if turn else x
