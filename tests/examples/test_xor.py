"""Two bits: what the docstring expects is what is printed and drawn."""

import jax.numpy as jnp
import pytest

NAME = "xor"


def test_a_perceptron_learns_AND_and_OR_and_a_hidden_layer_learns_XOR(told, tmp_path):
    accuracy, output = told(NAME, picture=str(tmp_path / "xor.png"))
    assert accuracy == 1
    assert "perceptron, AND: separated after 12 mistakes in 5 epochs" in output
    assert "perceptron, OR: separated after 2 mistakes in 2 epochs" in output
    assert (
        "perceptron, XOR: not separable: the weights repeat after 1 epoch; the best weights on the way answer 75.0%"
        in output
    )
    assert "hidden layer, XOR: 100.0% right" in output
    assert (tmp_path / "xor.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("answer", "red"),
    [(lambda x: x[:, :1], [(0, 1), (1, 1)]), (lambda x: jnp.ones_like(x[:, :1]), [(0, 0), (1, 1)])],
    ids=["the first bit", "always 1"],
)
def test_points_that_are_answered_wrongly_are_red(example, answer, red):
    (axes,) = example(NAME).draw({"some, XOR": answer}).axes
    marked = [
        tuple(line.get_xydata()[0].astype(int)) for line in axes.get_lines() if line.get_markeredgecolor() == "red"
    ]
    assert sorted(marked) == sorted(red)
    assert axes.get_title() == "some, XOR: red is wrong"
