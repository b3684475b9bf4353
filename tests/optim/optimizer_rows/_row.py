"""What a row is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax


def no_extra(grads: Any, params: Any) -> dict[str, Any]:
    """Most optimizers need nothing but gradients and parameters."""
    del grads, params
    return {}


class Row(NamedTuple):
    """An optimizer of jaxnn beside optax's, and all hyperparameters that one could sweep."""

    name: str
    ours: Callable[..., Any]
    peer: Callable[..., Any]
    hyperparameters: Mapping[str, float]
    extra: Callable[[Any, Any], dict[str, Any]] = no_extra
    """Extra arguments of `update`, such as the value of the loss, from gradients and parameters."""
    rounding: float = 1.0
    """How many times 1e-6 float32 may differ from optax, where nearly equal numbers are subtracted."""

    def __hash__(self):
        return hash(self.name)


def only_w(params):
    """A mask over the parameters, as weight decay takes one."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "w", params)


ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}
RATE = {"learning_rate": 0.1}
