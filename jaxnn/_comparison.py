"""Comparison of the two roads to the gradient, leaf by leaf, with each other and with central differences."""

import statistics
import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import tree
from jaxnn._table import binary_size, table
from jaxnn.gradients import LossLike, by_autodiff, by_hand
from jaxnn.layers._layer import Layer, LayerLike, as_layer
from jaxnn.layers._precision import InPrecision, Precision
from jaxnn.layers._rewriting import rewritten
from jaxnn.ops import plain
from jaxnn.training import LAYERS, TrainState
from jaxnn.typing import Data, Params

# The two roads may differ by this part of the leaf's largest gradient, or of a thousandth of the model's.
TOLERANCE = 1e-10
# Central differences of float64 losses, with this step, may differ by that part of the same.
STEP, CENTRAL_TOLERANCE = 1e-6, 1e-5


class LeafComparison(NamedTuple):
    """One row: a parameter, and how far the roads are apart on it."""

    name: str
    shape: tuple[int, ...]
    largest: float  # largest absolute gradient of the leaf, by autodiff
    difference: float  # largest absolute difference of by_hand and by_autodiff, over the scale
    central: float  # largest difference of by_autodiff and central differences, over its scale
    zero: bool  # whether the gradient is zero but for rounding, as of a bias before batch normalisation

    @property
    def agrees(self) -> bool:
        """Whether the roads agree on this leaf, with each other and with central differences."""
        return self.zero or (self.difference <= TOLERANCE and self.central <= CENTRAL_TOLERANCE)


class Cost(NamedTuple):
    """What one value and gradient costs on one road, in the parameters' own dtype."""

    seconds: float  # median of several runs, in turn with the other road's
    nbytes: int  # memory for temporary values, as the compiler counts it
    flops: float  # operations, as the compiler counts them


@final
@dataclass(frozen=True)
class Comparison:
    """The rows of a comparison, worst first, and the cost of each road; printed, a table."""

    rows: tuple[LeafComparison, ...]
    forward: float  # largest difference of loss, prediction and layer state, relative to their largest entry
    hand: Cost
    autodiff: Cost
    jittered: tuple[str, ...]
    jitter: float

    @property
    def agrees(self) -> bool:
        """Whether the two roads agree on the forward, and with central differences on every leaf."""
        return self.forward <= TOLERANCE and all(row.agrees for row in self.rows)

    def __str__(self) -> str:
        header = ["parameter", "shape", "largest gradient", "|hand - autodiff|", "central differences", ""]
        rows = [
            [
                row.name,
                str(row.shape),
                "~0" if row.zero else f"{row.largest:.1e}",
                "~0" if row.zero else f"{row.difference:.1e}",
                "~0" if row.zero else f"{row.central:.1e}",
                "" if row.agrees else "DISAGREES",
            ]
            for row in self.rows
        ]
        lines = [table(header, rows, align="<<>>><").rstrip(), ""]
        lines += ["differences in float64, relative to the leaf's largest gradient (or 1/1000 of the model's)"]
        if self.forward > TOLERANCE:
            lines.append(f"loss, prediction or state DISAGREES: by up to {self.forward:.1e} of its largest entry")
        if self.jittered:
            lines += [f"moved off zero by up to {self.jitter} for this: {', '.join(self.jittered)}"]
        for road, cost in (("by_hand", self.hand), ("by_autodiff", self.autodiff)):
            lines.append(
                f"{road:<11}  {cost.seconds * 1e6:8.0f} us  {binary_size(cost.nbytes):>10} temporary  "
                f"{cost.flops:,.0f} operations"
            )
        lines.append("the two roads agree" if self.agrees else "THE TWO ROADS DISAGREE")
        return "\n".join(lines)

    __repr__ = __str__


def compare(
    model: LayerLike,
    loss: LossLike,
    train_state: TrainState,
    batch: Data,
    *,
    directions: int = 2,
    jitter: float = 0.01,
    rounds: int = 10,
) -> Comparison:
    """Compare backpropagation by hand with JAX's of the plain functions, and with central differences.

    All in float64, also what `in_precision` has in others, in training, with one key. Central differences are taken
    along random signs v for each leaf p: (L(p + h v) - L(p - h v)) / 2 h against the inner product of the gradient and
    v. The two roads agree on a leaf if max |a - b| <= 1e-10 max(max |leaf|, 1e-3 of the model's largest gradient). A
    leaf whose gradient is smaller than 1e-10 of the model's largest is provably zero, prints `~0` and comes last.

    Args:
        model: A layer.
        loss: An op or a function `(prediction, target) -> (batch, ...)`.
        train_state: Where to compare; of `trainer.init`, or after training.
        batch: On what.
        directions: How many directions for central differences.
        jitter: Leaves that are all zero are moved by up to this, because a relu whose input is exactly 0,
            as blank pixels and a bias of zero make it, has no derivative for differences to find.
        rounds: How many runs of each road to time.

    Returns:
        A value that prints as a table and says whether the roads agree.

    >>> import jax, jaxnn as nn
    >>> t = nn.trainer(nn.Dense(2), nn.losses.cross_entropy, nn.sgd(0.1))
    >>> batch = nn.Data(jnp.ones((4, 3)), jnp.array([0, 1, 1, 0]))
    >>> nn.compare(t.model, t.loss, t.init(jax.random.key(0), batch.x), batch).agrees
    True
    """
    hand_cost, autodiff_cost = _costs((by_hand(model, loss), by_autodiff(model, loss)), train_state, batch, rounds)
    with jax.enable_x64(True):
        exact = rewritten(as_layer(model), _in_float64)
        hand, autodiff = by_hand(exact, loss), by_autodiff(exact, loss)
        params, jittered = _moved_off_zero(train_state.params, jitter)
        rest = [_wide(part) for part in (train_state.frozen, train_state.state, batch)]
        key = _layers_key(train_state)

        with plain():
            *out, reference = jax.jit(autodiff)(params, *rest, key=key)
            value_of = jax.jit(lambda params: autodiff(params, *rest, key=key)[0])
            central = _central_differences(value_of, params, reference, directions)
        by_hand_out = jax.jit(hand)(params, *rest, key=key)
        rows = _rows(reference, by_hand_out[2], central)
        forward = _largest_difference(out, by_hand_out[:2])
    return Comparison(rows, forward, hand_cost, autodiff_cost, jittered, jitter)


def _in_float64(layer: Layer) -> Layer:
    return replace(layer, policy=Precision(*3 * [jnp.float64])) if isinstance(layer, InPrecision) else layer


def _largest_difference(a: Any, b: Any) -> float:
    """The largest difference of any two leaves, relative to the largest entry of the leaf."""
    differences = [0.0]
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if not jnp.issubdtype(p.dtype, jax.dtypes.prng_key):
            p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
            differences.append(np.abs(p - q).max(initial=0) / (np.abs(p).max(initial=0) or 1.0))
    return float(np.max(differences))  # unlike Python's max, this lets no NaN pass


def _rows(reference: Params, gradient: Params, central: dict[str, float]) -> tuple[LeafComparison, ...]:
    a = {name: np.asarray(leaf) for name, leaf in tree.named_leaves(reference).items()}
    b = {name: np.asarray(leaf) for name, leaf in tree.named_leaves(gradient).items()}
    largest = {name: float(np.abs(leaf).max(initial=0)) for name, leaf in a.items()}
    of_model = max(largest.values(), default=0.0)
    rows = []
    for name, leaf in a.items():
        scale = max(largest[name], 1e-3 * of_model) or 1.0
        difference = float(np.abs(leaf - b[name]).max(initial=0)) / scale
        apart = central[name] / max(float(np.linalg.norm(leaf)), scale)
        close = difference <= TOLERANCE and apart <= CENTRAL_TOLERANCE
        zero = largest[name] <= TOLERANCE * of_model and close
        rows.append(LeafComparison(name, leaf.shape, largest[name], difference, apart, zero))
    # Worst first, but what differs by rounding alone is all the same, and stays in the order of names.
    return tuple(sorted(rows, key=lambda row: (row.zero, row.agrees, -max(row.difference, TOLERANCE))))


def _central_differences(value_of: Any, params: Params, gradient: Params, directions: int) -> dict[str, float]:
    """Return, for each leaf, the largest absolute error of the gradient along some random directions."""
    gradients, random = tree.named_leaves(gradient), np.random.default_rng(0)
    errors = {}
    for name, leaf in tree.named_leaves(params).items():
        errors[name] = 0.0
        for _ in range(directions):
            v = random.choice([-1.0, 1.0], leaf.shape)

            def at(h, name=name, v=v):
                return float(value_of(tree.map_named(lambda n, p: p + h * v if n == name else p, params)))

            slope = (at(STEP) - at(-STEP)) / (2 * STEP)
            expected = float((np.asarray(gradients[name]) * v).sum())
            errors[name] = float(np.maximum(errors[name], abs(slope - expected)))
    return errors


def _costs(roads: tuple[Any, ...], ts: TrainState, batch: Data, rounds: int) -> list[Cost]:
    arguments, key = (ts.params, ts.frozen, ts.state, batch), _layers_key(ts)
    compiled = [jax.jit(road).lower(*arguments, key=key).compile() for road in roads]
    seconds = [[] for _ in roads]
    for round_ in range(-1, rounds):
        for program, times in zip(compiled, seconds, strict=True):
            begin = time.perf_counter()
            jax.block_until_ready(program(*arguments, key=key))
            if round_ >= 0:  # the first is to warm up
                times.append(time.perf_counter() - begin)
    costs = []
    for program, times in zip(compiled, seconds, strict=True):
        memory, operations = program.memory_analysis(), program.cost_analysis() or {}
        nbytes = memory.temp_size_in_bytes if memory is not None else 0
        costs.append(Cost(statistics.median(times), nbytes, operations.get("flops", float("nan"))))
    return costs


def _layers_key(ts: TrainState) -> Any:
    return jax.random.fold_in(jax.random.fold_in(ts.key, LAYERS), ts.step)


def _wide(part: Any) -> Any:
    """Cast floating leaves to float64, and make all of them JAX arrays."""

    def cast(leaf):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(np.asarray(leaf, np.float64) if floating else leaf)

    return jax.tree.map(cast, part)


def _moved_off_zero(params: Params, jitter: float) -> tuple[Params, tuple[str, ...]]:
    random = np.random.default_rng(1)
    zero = [name for name, leaf in tree.named_leaves(params).items() if not np.asarray(leaf).any()]

    def moved(name, leaf):
        return leaf + random.uniform(-jitter, jitter, leaf.shape) if name in zero else leaf

    return tree.map_named(moved, _wide(params)), tuple(zero)
