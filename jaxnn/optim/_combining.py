"""Optimizers from optimizers. What optax has here is what jaxnn uses."""

from optax import apply_updates as apply_updates
from optax import chain as chain
from optax import identity as identity
