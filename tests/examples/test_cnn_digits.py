"""The convolutional network on digits: at full size, what its docstring expects is what comes out."""

import re

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("by_hand", [False, True], ids=["by_autodiff", "by_hand"])
def test_at_least_98_5_percent_of_digits_are_right(told, by_hand, tmp_path):
    accuracy, output = told("cnn_digits", by_hand=by_hand, pictures=str(tmp_path))
    assert accuracy >= 0.985
    assert f"accuracy on 360 test digits: {accuracy:.4f}" in output
    for picture in ("cnn_digits.png", "cnn_digits_wrong.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_at_a_tiny_size_it_runs_and_says_what_it_is(told):
    accuracy, output = told("cnn_digits", epochs=1, features=2, pictures=None)
    assert 0 < accuracy < 1
    assert re.search(r"serial_0/conv_0 +Conv\(2, window=\(3, 3\), bias=False\) +float32\[32,8,8,2\]", output)
