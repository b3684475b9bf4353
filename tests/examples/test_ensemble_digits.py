"""The ways to make an ensemble at a size that tests can pay for: each is judged, and members vote as they say."""

import re

import jax
import numpy as np
import pytest

import jaxnn as nn

NAME = "ensemble_digits"
TINY = {"members": 2, "epochs": 3, "seeds": 2}
WAYS = ["one", "deep", "bagged", "boosted", "stacked", "snapshots", "swa"]


def test_every_way_has_a_row_and_its_accuracy_is_returned(told, tmp_path):
    picture = tmp_path / "ensemble_digits.png"
    accuracy, output = told(NAME, picture=str(picture), **TINY)
    rows = dict(re.findall(r"^(\w+) +(\d\.\d{4}) ± \d\.\d{4}", output, re.M))
    assert list(rows) == list(accuracy) == WAYS
    assert {name: round(value, 4) for name, value in accuracy.items()} == pytest.approx(
        {name: float(value) for name, value in rows.items()}
    )
    assert accuracy["deep"] > 0.5  # of ten classes, after three epochs
    assert "2 members in one program take " in output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_network_of_swa_is_the_mean_of_the_snapshots(example):
    module, (train, _) = example(NAME), nn.data.digits()
    few = train.take(np.arange(64))

    @jax.jit
    def both(key):
        return [way(key, few, epochs=3, members=2) for way in (module.snapshots, module.swa)]

    six, mean = both(jax.random.key(0))
    assert (six.model.members, mean.model) == (6, module.MODEL)
    for name, leaf in nn.tree.named_leaves(mean.params).items():
        np.testing.assert_allclose(leaf, np.mean(nn.tree.named_leaves(six.params)[name], axis=0), atol=1e-6)
