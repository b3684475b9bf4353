"""Every loss of optax is here, with its signature."""

import inspect
from pathlib import Path

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


COMPARED = [(Path(__file__).parent / file).read_text() for file in
            ("test_equal_to_optax.py", "test_margins_and_similarities.py")]  # fmt: skip
ELSEWHERE = {"make_fenchel_young_loss": "optax.losses.make_fenchel_young_loss(",
             "convex_kl_divergence": "losses.convex_kl_divergence is losses.generalized_kl_divergence"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_compared_by_value_and_gradient(name):
    """In one of the two tables, which are keyed by name, or by itself."""
    assert any(ELSEWHERE.get(name, f'"{name}"') in text for text in COMPARED)
