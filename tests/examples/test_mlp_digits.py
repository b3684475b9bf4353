"""The main job of the README, at full size: what its docstring expects is what comes out."""

import re

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("by_hand", [False, True], ids=["by_autodiff", "by_hand"])
def test_at_least_97_percent_of_digits_are_right(told, by_hand, tmp_path):
    picture = str(tmp_path / "digits.png")
    accuracy, output = told("mlp_digits", by_hand=by_hand, picture=picture)
    assert accuracy >= 0.97
    assert f"accuracy on 360 test digits: {accuracy:.4f}" in output
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    assert "the two roads agree" in output


def test_summary_comparison_and_history_are_printed(told):
    accuracy, output = told("mlp_digits", epochs=2, hidden=8, picture=None)
    assert re.search(r"dense_0 +Dense\(8, w_init=he_normal\(\)\) +float32\[32,8\] +1.0 KiB +520 ", output)
    assert re.search(r"^by_hand .* us ", output, re.M)
    assert re.search(r"^ +2  \d\.\d{4} +\d\.\d{4} +" + f"{accuracy:.4f}$", output, re.M)
