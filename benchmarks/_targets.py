"""Who the peers are, and what is to be reached against them.

A peer is known by what its contestants are called; of one that has several forms (threads, layouts, who takes the
batch) it is the fastest that counts. "flax, one scan" and its kind are how an expert would write it, not how its users
do: they are shown, and no target is against them but where it says so.

A target's factor is the median of the pairwise ratios, round by round, of the peer's time over ours; ours is the
contestant that a result names first, which is what one gets who asks for nothing special. That of 35 on `mlp-small` was
set against a loop as flax's examples have it; the form that picks its batch within the step stands in the table.
"""

import re
from dataclasses import dataclass

PEERS = {
    "by_hand": r"jaxnn by_hand|ours, by hand",
    "a call each": r"jaxnn, a call each",
    "flax": r"(optax, )?flax(\.linen)?(, (rows in jit|as its examples))?",
    "flax, one scan": r"flax, (one scan|scan of .*)",
    "flax.nnx": r"(optax, )?flax\.nnx(, .*)?",
    "equinox": r"(optax, )?equinox(, .*)?",
    "Keras": r"Keras(, .*)?",
    "optax": r"optax",
    "PyTorch": r"PyTorch(, .*)?",
    "torch.compile": r"PyTorch compiled(, .*)?",
    "scikit-learn": r"scikit-learn",
}
"""By the name of a peer, what its contestants are called, in the order of every table's columns."""

USERS_JAX = ("flax", "flax.nnx", "equinox", "Keras")
"""A jitted step, or what does that for its user, in a loop of Python's."""

GROUPS = {
    "every JAX peer": USERS_JAX,
    "the best peer": (*USERS_JAX, "optax", "PyTorch", "torch.compile", "scikit-learn"),
}
"""Several peers at once: the fastest of them counts."""


@dataclass(frozen=True)
class Target:
    """A workload is to take no more than a part of somebody's time."""

    workload: str
    against: str  # a peer, a group, or a contestant's own name
    factor: float  # at least so many times ours


TARGETS = (
    Target("mlp-small", "PyTorch", 50),
    Target("mlp-small", "flax, as its examples", 35),
    Target("mlp-small", "scikit-learn", 20),
    Target("mlp", "the best peer", 1.3),
    Target("cnn", "flax", 4.5),
    Target("cnn", "PyTorch", 1.4),
    Target("resnet", "flax", 3),
    Target("resnet", "PyTorch", 1),
    Target("lstm", "flax", 1.5),
    Target("gpt", "the best peer", 1.2),
    Target("optimizer-many", "PyTorch, fused", 1),
    Target("optimizer-many", "optax", 1.4),
    Target("optimizer-large", "PyTorch, fused", 1),
    Target("optimizer-large", "optax", 1.4),
    Target("sweep-mlp-small", "PyTorch", 60),
    Target("sweep-mlp-small", "a call each", 2),
    Target("first-epoch-mlp-small, cold", "every JAX peer", 1),
    Target("first-epoch-mlp-small, warm", "PyTorch", 1),
    Target("first-epoch-cnn, cold", "every JAX peer", 1),
    Target("first-epoch-cnn, warm", "PyTorch", 1),
    Target("import", "flax", 1),
)

LIMITS = {
    "mlp-small": 5,
    "mlp": 1.3,
    "cnn": 1.6,
    "resnet": 2,
    "lstm": 2,
    "gpt": 1.6,
    "optimizer-many": 1.1,
    "optimizer-large": 1.1,
}
"""By workload, how many times the limit it is to take at most."""

SECONDS = {"import": 0.15}
"""By workload, how many seconds it is to take at most."""

BY_HAND = 1.05
"""How many times the time by autodiff the hand's road is to take at most, on any workload; and no more memory."""

ROADS = {"jaxnn by_hand": "jaxnn by_autodiff", "ours, by hand": "ours, by JAX"}
"""What the hand's road is called, and the other."""


def called(against: str, name: str) -> bool:
    """Return whether a contestant is a peer's, one of a group's, or the one that is named.

    >>> called("PyTorch", "PyTorch, 2 threads"), called("PyTorch", "PyTorch compiled")
    (True, False)
    >>> called("every JAX peer", "flax, rows in jit"), called("every JAX peer", "flax, one scan")
    (True, False)
    """
    if against in GROUPS:
        return any(called(peer, name) for peer in GROUPS[against])
    return name == against or (against in PEERS and re.fullmatch(PEERS[against], name) is not None)
