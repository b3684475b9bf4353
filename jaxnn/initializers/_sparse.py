"""Sparse initialisation: every unit listens to a few of its inputs at first."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, final

import jax
import jax.numpy as jnp

from jaxnn._equality import by_value
from jaxnn.initializers._initializer import check_size, fans
from jaxnn.typing import Array, Key, Scalar


@final
@by_value
@dataclass(frozen=True)
class Sparse:
    """Normal numbers at a few places of every unit's weights, drawn anew for each unit, and zeros elsewhere.

    The zeros are weights like others: they are stored and trained, and no longer zero after a step.

    Attributes:
        nonzeros: How many of a unit's weights are not zero; all of them, where there are not as many.
        sparsity: Or, in its place, which fraction of them is zero: round(sparsity fan_in) of every unit's. (PyTorch's
            `sparse_` rounds up, and its stddev is 0.01.)
        stddev: Of those that are not zero. With 1 / sqrt(nonzeros), variance is kept as by `lecun_normal`. May be a
            tracer.

    Raises:
        ValueError: Not one of `nonzeros` and `sparsity` is given, or it does not count or is no fraction; stddev is
            negative.
        ShapeError: The shape has fewer than two axes.

    >>> w = Sparse(nonzeros=2)(jax.random.key(0), (5, 3), jnp.float32)
    >>> (w != 0).sum(axis=0)
    Array([2, 2, 2], dtype=int32)

    Source: Martens, "Deep learning via Hessian-free optimization" (2010), section 5, with 15 nonzeros.
    """

    _: KW_ONLY
    nonzeros: int | None = None
    sparsity: float | None = None
    stddev: Scalar = 1.0

    def __post_init__(self) -> None:
        if (self.nonzeros is None) == (self.sparsity is None):
            raise ValueError("expected nonzeros or sparsity, because either says how many weights are zero; "
                             f"got {'neither' if self.nonzeros is None else 'both'}")  # fmt: skip
        whole = isinstance(self.nonzeros, int) and not isinstance(self.nonzeros, bool)
        if self.nonzeros is not None and not (whole and self.nonzeros >= 1):
            raise ValueError(f"expected nonzeros as a whole number of at least 1, because it counts a unit's weights; "
                             f"got {self.nonzeros!r}")  # fmt: skip
        if self.sparsity is not None and not 0 <= self.sparsity <= 1:
            raise ValueError(f"expected sparsity from 0 to 1, because it is the fraction of weights that are zero; "
                             f"got {self.sparsity}")  # fmt: skip
        check_size(self.stddev, "stddev", "it is a standard deviation, not a variance")

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        """Draw an array of at least two axes; the last one is of units."""
        fan_in, _ = fans(shape)
        zeros = max(fan_in - self.nonzeros, 0) if self.nonzeros is not None else round(self.sparsity * fan_in)  # pyright: ignore[reportOptionalOperand]
        place_key, value_key = jax.random.split(key)
        ranks = jnp.broadcast_to(jnp.arange(fan_in)[:, None], (fan_in, shape[-1]))
        chosen = jax.random.permutation(place_key, ranks, axis=0, independent=True) >= zeros
        w = jax.random.normal(value_key, shape, dtype) * jnp.asarray(self.stddev, dtype)
        return jnp.where(chosen.reshape(shape), w, 0)


def sparse(*, nonzeros: int | None = None, sparsity: float | None = None, stddev: Scalar = 1.0) -> Sparse:
    """So many `nonzeros` for each unit, or a `sparsity`, from N(0, stddev^2), and zeros elsewhere.

    >>> sparse(nonzeros=15)
    Sparse(nonzeros=15, sparsity=None, stddev=1.0)

    Source: Martens (2010).
    """
    return Sparse(nonzeros=nonzeros, sparsity=sparsity, stddev=stddev)
