"""Every loss of optax is here, with its signature."""

import inspect

import optax
import pytest

from jaxnn import losses

NAMES = [name for name, value in vars(optax.losses).items() if callable(value) and not name.startswith("_")]


def test_the_list_is_not_empty():
    assert {"l2_loss", "kl_divergence", "ctc_loss", "smooth_labels"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_name_and_signature_are_those_of_optax(name):
    ours = inspect.signature(getattr(losses, name)).parameters.values()
    theirs = inspect.signature(getattr(optax.losses, name)).parameters.values()
    outline = lambda parameters: [(p.name, p.kind, p.default) for p in parameters]
    assert name in losses.__all__
    assert outline(ours) == outline(theirs)
