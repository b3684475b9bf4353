"""Long-range recall: what the docstring expects is what is printed and drawn."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

NAME = "lstm_memory"
NETWORKS = ["RNN", "LSTM, bias of f 1", "LSTM, bias of f 4"]


def rows(output):
    """What is printed of each network: the gradient at the first and the last step, that after training, accuracy."""
    number = r" +(\d\.\de[+-]\d+)"
    found = re.findall(rf"^(\S.*?){number}{number}{number} +(\d\.\d+)$", output, re.M)
    return {name: tuple(map(float, numbers)) for name, *numbers in found}


@pytest.mark.slow
def test_the_lstm_remembers_and_the_plain_network_does_not(told, tmp_path):
    picture = tmp_path / "lstm_memory.png"
    accuracy, output = told(NAME, picture=str(picture))
    rnn, usual, remembering = (rows(output)[name] for name in NETWORKS)
    assert accuracy == pytest.approx(remembering[-1], abs=1e-3)
    assert accuracy >= 0.95
    assert rnn[-1] < 0.35
    assert rnn[0] < 1e-10 < 1e-6 < usual[0] < 1e-4 < 0.5 < remembering[0] < 5
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_at_a_tiny_size_every_network_has_a_row(told):
    accuracy, output = told(NAME, steps=4, epochs=1, examples=32, hidden=3, picture=None)
    assert list(rows(output)) == NETWORKS
    assert 0 <= accuracy <= 1


def test_only_the_first_step_shows_the_symbol(example):
    data = example(NAME).sequences(20, 5, seed=0)
    assert data.x.shape == (20, 5, 8)
    np.testing.assert_array_equal(data.x[:, 0, :4], np.eye(4)[data.y])
    assert not data.x[:, 1:, :4].any()
    assert set(np.asarray(data.y)) == {0, 1, 2, 3}


def test_the_gradient_norms_are_those_of_jax(example):
    module = example(NAME)
    data = module.sequences(6, 5, seed=0)
    model = nn.serial(nn.LSTM(3), nn.last, nn.Dense(4))
    ts = nn.trainer(model, module.LOSS, nn.sgd(0.1)).init(jax.random.key(0), data.x)
    total = lambda x: module.LOSS(model.apply(ts.params, ts.state, x)[0], data.y).sum()
    expected = jnp.linalg.norm(jax.grad(total)(data.x), axis=-1).mean(0)
    np.testing.assert_allclose(module.gradient_norms(model, ts, data), expected, rtol=1e-5)


def test_the_figure_has_every_network_on_every_panel(example):
    module = example(NAME)
    seen = {name: module.Memory(np.full(2, 0.5), np.full(3, 1e-3), np.full(7, 1e-2)) for name in NETWORKS}
    through_time, first, accuracy = module.draw(seen).axes
    assert [text.get_text() for text in through_time.get_legend().get_texts()] == NETWORKS
    for axes, x, y in ((through_time, range(1, 8), 1e-2), (first, range(3), 1e-3), (accuracy, (1, 2), 50)):
        lines = axes.get_lines()[:3]  # the last panel has chance, too
        assert all(list(line.get_xdata()) == list(x) and set(line.get_ydata()) == {y} for line in lines)
    assert (through_time.get_yscale(), first.get_yscale(), accuracy.get_yscale()) == ("log", "log", "linear")
