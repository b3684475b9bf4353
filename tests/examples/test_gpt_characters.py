"""The small transformer on text: at full size, what its docstring expects is what comes out."""

import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

NAME = "gpt_characters"
TINY = {"steps": 4, "every": 2, "characters": 5000, "context": 32, "width": 8, "heads": 2, "blocks": 1}


@pytest.mark.slow
def test_it_needs_fewer_bits_than_counts_do(example, tmp_path):
    """As a program of its own, because the tests let XLA optimise little, with which it takes thrice the time."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    picture = tmp_path / "gpt.png"
    command = [sys.executable, example(NAME).__file__, "--picture", str(picture)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    needed = {name.strip(): float(bits) for name, bits in re.findall(r"^(.*) needs? (\d\.\d{3}) bits$", output, re.M)}
    assert needed["the transformer"] < 2.4 < 3.3 < needed["pairs"] < 4.5 < needed["single characters"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    samples = output.split("-- sample")[1:]
    assert len(samples) == 3
    assert all(sample.partition(" --\n")[2].startswith("The ") for sample in samples)


def test_at_a_tiny_size_it_runs_and_says_what_it_is(told):
    bits, output = told(NAME, **TINY, picture=None)
    assert f"the transformer needs {bits:.3f} bits" in output
    assert re.search(r"^ +4 +\d\.\d{3} +" + f"{bits:.3f}$", output, re.M)
    assert "SelfAttention(2, causal=True, rotary=True" in output


def test_no_paragraph_of_the_end_is_in_the_beginning(example):
    text = example(NAME).python_topics()
    train, test = ("".join(text.alphabet[c] for c in part) for part in (text.train, text.test))
    paragraphs = set(test.split("\n\n")[1:-1])
    assert len(paragraphs) > 100
    assert not paragraphs & set(train.split("\n\n"))
    assert len(train) > 300_000


def test_counts_need_what_the_entropy_says(example):
    module = example(NAME)
    cycle = np.tile(np.arange(4, dtype=np.int32), 300)
    bits = module.bits_of_counts(module.Text("abcd", cycle, cycle))
    assert abs(bits["single characters"] - 2) < 1e-3
    assert bits["pairs"] < 0.01


def test_what_is_written_at_no_temperature_is_the_likeliest(example):
    """Character by character with a cache, and each time anew without one."""
    sizes = {"width": 8, "heads": 2, "blocks": 2, "context": 12, "rotary": True}
    model, decoder = nn.models.gpt(9, **sizes), nn.models.gpt(9, **sizes, cache=12)
    prompt = jnp.array([[1, 2, 3], [4, 5, 6]])
    params, _ = model.init(jax.random.key(0), prompt)
    params = jax.tree.map(lambda p: 4 * p, params)
    written = example(NAME).write(decoder, params, prompt, jax.random.key(1), length=9, temperature=1e-6)
    assert written.shape == (2, 12)
    np.testing.assert_array_equal(written[:, :3], prompt)
    expected = model.apply(params, {}, written)[0].argmax(-1)
    np.testing.assert_array_equal(written[:, 3:], expected[:, 2:-1])


def test_the_figure_has_the_curves_and_what_counting_needs(example):
    axes = example(NAME).draw(np.linspace(6, 2, 8), [4.0, 2.5], {"single": 4.7, "pairs": 3.4}).axes[0]
    batches, test, *counts = axes.get_lines()
    assert list(batches.get_xdata()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(test.get_xdata()) == [4, 8]
    assert list(test.get_ydata()) == [4.0, 2.5]
    assert [set(line.get_ydata()) for line in counts] == [{4.7}, {3.4}]
    assert [text.get_text() for text in axes.get_legend().get_texts()][2:] == ["counts of single", "counts of pairs"]
