"""The digits: their shapes and range, and that the two parts are parts of one whole, by class and by seed."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

import jaxnn as nn


def rows(*parts):
    """Every example with its label, in an order that does not depend on how they were split."""
    return sorted((*part.x[i], part.y[i]) for part in parts for i in range(part.examples))


def test_shapes_dtypes_and_range():
    for part, n in zip(nn.data.digits(), (1437, 360), strict=True):
        assert (part.x.shape, part.x.dtype) == ((n, 64), np.float32)
        assert (part.y.shape, part.y.dtype) == ((n,), np.int32)
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert set(part.y.tolist()) == set(range(10))
        assert part.w is None


def test_every_digit_is_in_one_part_once_with_its_own_label():
    x, y = load_digits(return_X_y=True)
    assert rows(*nn.data.digits()) == rows(nn.Data((x / 16).astype(np.float32), y))


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_each_class_is_split_in_the_same_proportion(fraction):
    train, test = (np.bincount(part.y) for part in nn.data.digits(fraction))
    np.testing.assert_allclose(test, fraction * (train + test), atol=1)


def test_a_seed_always_splits_alike_and_another_one_otherwise():
    (train, test), (again, test_again) = nn.data.digits(seed=3), nn.data.digits(seed=3)
    np.testing.assert_array_equal(train.x, again.x)
    np.testing.assert_array_equal(test.y, test_again.y)
    assert rows(nn.data.digits(seed=4)[1]) != rows(test)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        nn.data.digits()
    assert caught.value.__notes__ == ["  hint: the digits come with scikit-learn: pip install 'jaxnn[examples]'"]
