"""How fast is the loss of a language model's last layer, with its gradients, and how much memory does it take?

The value is the mean cross-entropy of the logits x w; what is computed are it and its gradients by x and by w,
compiled, in float32.

========  =================================================================
workload  tokens, features, vocabulary
========  =================================================================
`gpt-2`   2048 tokens of 128 features, the 50,257 of GPT-2
`wide`    2048 tokens of 768 features, as of GPT-2, small
`letters` 2048 tokens of 128 features, 65 letters
========  =================================================================

=====================  =============================================================================================
ours, by hand          `fwd` and `bwd` of `nn.losses.linear_cross_entropy`: in chunks
ours, by JAX           `jax.value_and_grad` of it, in which the rule is installed
all logits, by hand    `fwd` and `bwd` of `nn.ops.linear` and `nn.losses.cross_entropy`
all logits, by JAX     `jax.value_and_grad` of the plain functions
optax                  `optax.softmax_cross_entropy_with_integer_labels` of the product
PyTorch                `torch.nn.functional.cross_entropy` of `torch.nn.functional.linear`
=====================  =============================================================================================

All compute the same, which is checked. The limit is the multiplications and additions of three products, one forward
and two for the gradients, at the rate of a large matrix product of the same round, then x, w and their gradients, each
moved once at the rate of main memory. In chunks there is a fourth product, that of the backward's logits.

    python -m benchmarks.cross_entropy
    python -m benchmarks.cross_entropy --quick
    python -m benchmarks.cross_entropy --workload gpt-2 --json benchmarks/results/cross-entropy-my-machine.json
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn
from benchmarks import _command, _timing

Result: TypeAlias = tuple[Any, Any, Any]
"""The mean loss, and its gradients by x and w."""

OURS, BY_JAX, ALL, PLAIN = "ours, by hand", "ours, by JAX", "all logits, by hand", "all logits, by JAX"
OPTAX, PYTORCH = "optax", "PyTorch"

PATIENCE = 60.0
"""Seconds after which a contestant is not timed again."""


@dataclass(frozen=True)
class Head:
    """A last layer, and how many tokens it judges."""

    name: str
    tokens: int
    features: int
    vocabulary: int

    @property
    def operations(self) -> int:
        """Floating-point operations of three products."""
        return 3 * 2 * self.tokens * self.features * self.vocabulary

    @property
    def moved(self) -> int:
        """Bytes of x, w and their gradients."""
        return 4 * 2 * self.features * (self.tokens + self.vocabulary)

    def draw(self) -> tuple[Any, Any, Any]:
        """Return x, w and labels."""
        rng = np.random.default_rng(0)
        normal = lambda *shape: jnp.asarray(rng.standard_normal(shape, np.float32))
        labels = jnp.asarray(rng.integers(0, self.vocabulary, self.tokens), jnp.int32)
        return normal(self.tokens, self.features), normal(self.features, self.vocabulary) / self.features**0.5, labels

    def __str__(self) -> str:
        return f"{self.name}: {self.tokens} tokens, {self.features} features, vocabulary {self.vocabulary}, float32"


WORKLOADS = {
    name: lambda quick, name=name, sizes=sizes: Head(name, *((32, 8, sizes[2] // 100 + 10) if quick else sizes))
    for name, sizes in {
        "gpt-2": (2048, 128, 50257),
        "wide": (2048, 768, 50257),
        "letters": (2048, 128, 65),
    }.items()
}


def in_chunks(x: Any, w: Any, labels: Any) -> Result:
    """By hand, without all logits."""
    l, residuals = nn.losses.linear_cross_entropy.fwd(x, w, None, labels)
    return l.mean(), *nn.losses.linear_cross_entropy.bwd(residuals, jnp.full_like(l, 1 / l.size))[:2]


def with_all_logits(x: Any, w: Any, labels: Any) -> Result:
    """By hand, with them."""
    logits, of_product = nn.ops.linear.fwd(x, w, None)
    l, of_loss = nn.losses.cross_entropy.fwd(logits, labels)
    d_logits, _ = nn.losses.cross_entropy.bwd(of_loss, jnp.full_like(l, 1 / l.size))
    return l.mean(), *nn.ops.linear.bwd(of_product, d_logits)[:2]


def of_loss(loss: Callable[[Any, Any, Any], Any]) -> Callable[..., Result]:
    """As JAX derives it of a function of x, w and labels."""

    def run(x, w, labels):
        value, gradients = jax.value_and_grad(lambda x, w: loss(x, w, labels).mean(), (0, 1))(x, w)
        return value, *gradients

    return run


COMPILED: dict[str, Callable[..., Result]] = {
    BY_JAX: of_loss(lambda x, w, labels: nn.losses.linear_cross_entropy(x, w, None, labels)),
    OURS: in_chunks,
    ALL: with_all_logits,
    PLAIN: of_loss(lambda x, w, labels: nn.losses.linear_cross_entropy.plain(x, w, None, labels)),
    OPTAX: of_loss(lambda x, w, labels: optax.softmax_cross_entropy_with_integer_labels(x @ w, labels)),
}


def pytorch(x: Any, w: Any, labels: Any) -> Callable[[], Result]:
    """Return PyTorch's; its weights are the transpose.

    Raises:
        ImportError: PyTorch is not installed, or is not asked.
    """
    import torch

    if jax.default_backend() != "cpu":
        raise ImportError("it is asked for its loss on a CPU")
    torch.set_num_threads(_timing.cores())
    leaves = [torch.from_numpy(np.array(a)).requires_grad_() for a in (x, w.T)]
    classes = torch.from_numpy(np.array(labels, np.int64))

    def run() -> Result:
        value = torch.nn.functional.cross_entropy(torch.nn.functional.linear(*leaves), classes)
        dx, dw = torch.autograd.grad(value, leaves)
        return value.detach(), dx, dw.T

    return run


def contestants(arrays: Sequence[Any]) -> tuple[dict[str, Callable[[], Result]], dict[str, str]]:
    """Return whoever computes it, and who is left out and why."""
    compiled = {name: functools.partial(jax.jit(function), *arrays) for name, function in COMPILED.items()}
    others, left_out = _timing.enter({PYTORCH: pytorch}, *arrays)
    entered = {name: lambda run=run: jax.block_until_ready(run()) for name, run in (compiled | others).items()}
    expected = entered[PLAIN]()
    for name, run in entered.items():
        for one, other in zip(run(), expected, strict=True):
            error = float(abs(np.asarray(one) - np.asarray(other)).max() / abs(np.asarray(other)).max())
            if not error < 1e-4:
                raise ValueError(
                    f"expected what JAX derives, up to rounding; got a difference of {error:.1e} in {name}"
                )
    return entered, left_out


def measure(of: Head, *, rounds: int, quick: bool) -> _command.Results:
    """Return what every contestant took, and what the machine could have done."""
    arrays = of.draw()
    programs = {name: asdict(_timing.program(jax.jit(function), *arrays)) for name, function in COMPILED.items()}
    entered, left_out = contestants(arrays)
    product, stream = _timing.matrix_product(quick=quick), _timing.streaming(quick=quick)
    times = _timing.alternate(
        entered | {"product": product.run, "stream": stream.run}, rounds=rounds, patience=PATIENCE
    )
    rates = product.rates(times["product"]), stream.rates(times["stream"])
    return {
        "workload": str(of),
        "microseconds": {name: [1e6 * taken for taken in times[name].rounds] for name in entered},
        "programs": programs,
        "left out": left_out,
        "limit": _timing.limit(of.operations, of.moved, *rates),
    }


def table(result: _command.Results) -> str:
    """Return what was measured, for a reader: median (smallest .. largest) over the rounds."""
    seen, bound = result["microseconds"], result["limit"]["microseconds"]
    milliseconds = lambda times: _timing.spread([t / 1000 for t in times], 2)
    rows: list[Sequence[str]] = [("", "ms", "over ours", "compile, s", "memory, MiB")]
    for name, times in seen.items():
        program = result["programs"].get(name, asdict(_timing.Program()))
        memory = None if program["memory"] is None else program["memory"] / 2**20
        numbers = (_timing.number(program["compile"]), _timing.number(memory))
        rows.append((name, milliseconds(times), _timing.spread(_timing.ratios(times, seen[BY_JAX]), 2), *numbers))
    rows.append(("limit", milliseconds(bound), _timing.spread(_timing.ratios(bound, seen[BY_JAX]), 2)))
    above = _timing.spread(_timing.ratios(seen[BY_JAX], bound), 2)
    return "\n".join([
        result["workload"],
        _timing.aligned(rows),
        f"{BY_JAX} / limit {above}, {_timing.rates(result['limit'])}",
        *_timing.absent(result["left out"]),
    ])  # fmt: skip


if __name__ == "__main__":
    _command.main(__doc__, WORKLOADS, measure, table, rounds=9)
