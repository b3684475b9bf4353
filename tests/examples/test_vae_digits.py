"""Digits that nobody wrote: what the docstring expects is what is printed and drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

NAME = "vae_digits"


@pytest.mark.slow
def test_digits_take_fewer_nats_than_their_pixels_and_samples_look_like_some(told, tmp_path):
    got, output = told(NAME, picture=str(tmp_path / "vae_digits.png"))
    assert got["nats"] < 19
    assert 5 < got["code"] < 8
    assert got["pixels"] > 25
    assert got["samples"] > 0.5
    assert got["alone"] < 0.4
    assert f"a test digit takes at most {got['nats']:.2f} nats, {got['code']:.2f} of them for its code" in output
    assert (tmp_path / "vae_digits.png").read_bytes().startswith(b"\x89PNG")


def test_at_a_tiny_size_it_runs_and_the_code_costs_something(told):
    got, output = told(NAME, epochs=1, hidden=8, latent=2, picture=None)
    assert 0 < got["code"] < got["nats"]
    assert "out/logits/draw " in output


def test_the_figure_has_digits_what_comes_back_and_samples(example):
    pictures = [jnp.full((n, 64), value) for n, value in ((12, 0.2), (12, 0.5), (48, 0.9))]
    images = [axes.get_images()[0].get_array() for axes in example(NAME).draw(*pictures, 6).axes]
    assert [round(float(np.mean(image)), 1) for image in images] == [0.2] * 12 + [0.5] * 12 + [0.9] * 48
