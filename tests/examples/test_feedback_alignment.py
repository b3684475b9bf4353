"""Random feedback: what the docstring expects is what is printed and drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

NAME = "feedback_alignment"


@pytest.mark.slow
def test_random_feedback_comes_to_agree_with_the_gradient_and_digits_are_learned_from_it(told, tmp_path):
    got, output = told(NAME, picture=str(tmp_path / "feedback_alignment.png"))
    assert got["random feedback"] >= 0.94
    assert got["backpropagation"] >= 0.95
    assert got["last layer alone"] <= 0.9
    assert got["angle"] < 60
    first, *_, last = (line.split() for line in output.splitlines() if line[:6].strip().isdigit())
    assert (int(first[0]), int(last[0])) == (0, 30)
    assert float(first[1]) > 75
    assert float(last[2]) < 60
    assert (tmp_path / "feedback_alignment.png").read_bytes().startswith(b"\x89PNG")


def test_at_a_tiny_size_all_three_ways_run(told):
    got, output = told(NAME, epochs=1, hidden=8, picture=None)
    assert set(got) == {"random feedback", "backpropagation", "last layer alone", "angle"}
    assert "random feedback: " in output


def test_what_the_layer_is_told_is_its_gradient_with_the_feedback_for_the_weights_above(example, x64):
    """By hand, number by number; by autodiff it is a dense layer."""
    random = np.random.default_rng(0)
    x, w, feedback, dy = (random.normal(size=shape) for shape in ((5, 3), (3, 2), (3, 2), (5, 2)))
    layer = example(NAME).FeedbackDense(2)
    params, state = {"w": jnp.asarray(w), "b": jnp.zeros(2)}, {"feedback": jnp.asarray(feedback)}
    (y, _), residuals = layer.fwd(params, state, jnp.asarray(x))
    d_params, dx = layer.bwd(residuals, jnp.asarray(dy))
    np.testing.assert_allclose(y, x @ w, rtol=1e-12)
    np.testing.assert_allclose(dx, dy @ feedback.T, rtol=1e-12)
    np.testing.assert_allclose(d_params["w"], x.T @ dy, rtol=1e-12)
    np.testing.assert_allclose(d_params["b"], dy.sum(axis=0), rtol=1e-12)
    through = jax.grad(lambda x: (layer.apply(params, state, x)[0] * jnp.asarray(dy)).sum())(jnp.asarray(x))
    np.testing.assert_allclose(through, dy @ w.T, rtol=1e-12)


def test_the_angle_is_that_of_the_two_roads(example):
    """Where the feedback is the weights themselves there is none, and where it is their negative it is 180 degrees."""
    module = example(NAME)
    trainer = nn.trainer(module.network(module.FeedbackDense, 4), nn.losses.cross_entropy, nn.sgd(0.1))
    data = nn.Data(jax.random.normal(jax.random.key(1), (8, 6)), jnp.arange(8))
    ts, angles = trainer.init(jax.random.key(0), data.x), module.follow(trainer)
    for sign, angle in ((1, 0), (-1, 180)):
        feedback = {"second": ts.params["second"]["w"], "last": sign * ts.params["last"]["w"]}
        state = ts.state | {name: {"feedback": b} for name, b in feedback.items()}
        told = angles(ts._replace(state=state), data)
        assert told["second"] == pytest.approx(angle, abs=0.1)
        assert told["last"] == pytest.approx(0, abs=0.1)


def test_the_figure_has_the_angles_and_the_accuracies(example):
    followed = [{"first": 90.0, "second": 80.0, "last": 0.0}, {"first": 50.0, "second": 40.0, "last": 0.0}]
    accuracy = {"random feedback": [0.5], "backpropagation": [0.75], "last layer alone": [0.25]}
    left, right = example(NAME).draw(followed, accuracy).axes
    assert [list(line.get_ydata()) for line in left.get_lines()[:2]] == [[90, 50], [80, 40]]
    assert [line.get_ydata().item() for line in right.get_lines()] == [50, 75, 25]
    assert [text.get_text() for text in right.get_legend().get_texts()] == list(accuracy)
