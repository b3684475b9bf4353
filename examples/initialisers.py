"""What becomes of a signal in fifty layers, with the right weights for the activation and with wrong ones?

Question   fifty layers of 256 units, activation(x w): after each, what is the variance of the activations, over units
           and examples, in the mean over ten draws of all weights?
Command    python examples/initialisers.py
Hardware   any CPU.
Time       half a minute on two cores.
Expected   with `recommend_init` the variance after every layer is within a factor of two of that after the first, for
           relu, leaky_relu, elu, selu, tanh and sigmoid (the line `worst factor`). With others, fifty layers on: relu
           with Glorot's weights has lost fifteen orders of magnitude, tanh with Glorot's (without its gain) all but a
           fortieth, tanh with He's a third; selu with He's weights gains three orders. N(0, 0.01^2) loses 93 orders,
           and weights of 1 gain 236, with all units alike. The picture is initialisers.png.

Source: Glorot and Bengio (2010); He et al. (2015); Mishkin and Matas (2016), whose figure 1 has the question.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxnn as nn
from jaxnn.initializers import glorot_normal, he_normal, lecun_normal, normal, ones, recommend_init

RIGHT = [nn.relu, nn.ops.leaky_relu, nn.ops.elu, nn.ops.selu, nn.tanh, nn.sigmoid]
WRONG = {
    "relu, all ones": (nn.relu, ones),
    "selu, He": (nn.ops.selu, he_normal()),
    "tanh, He": (nn.tanh, he_normal()),
    "tanh, Glorot without gain": (nn.tanh, glorot_normal()),
    "relu, LeCun or Glorot": (nn.relu, lecun_normal()),
    "relu, $N(0, 0.01^2)$": (nn.relu, normal(0.01)),
}
# Okabe and Ito's colours, which all readers can tell apart, and a style of line besides.
STYLES = list(
    zip(
        ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#000000"],
        ["-", "--", "-.", ":", "-", "--"],
        strict=True,
    )
)


def variances(activation: Callable[[Any], Any], init: Any, *, layers: int, width: int, draws: int) -> np.ndarray:
    """Return the variance of the activations after each layer, in the mean over draws."""

    def one(key):
        x_key, w_key = jax.random.split(key)

        def layer(x, key):
            x = activation(x @ init(key, (width, width), x.dtype))
            return x, x.var()

        x = jax.random.normal(x_key, (64, width))
        return jax.lax.scan(layer, x, jax.random.split(w_key, layers))[1]

    keys = jax.random.split(jax.random.key(0), draws)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys).mean(axis=0))(keys))


def main(*, layers: int = 50, width: int = 256, draws: int = 10, picture: str | None = "initialisers.png") -> float:
    """Measure, print and draw; return the worst factor by which a right pairing leaves its first layer's variance."""
    size = {"layers": layers, "width": width, "draws": draws}
    with jax.enable_x64(True):  # float32 holds neither what the wrong weights make nor what they leave
        right = {f.name: variances(f, recommend_init(f), **size) for f in RIGHT}
        wrong = {name: variances(f, init, **size) for name, (f, init) in WRONG.items()}

    print(f"{'variance after layer':28}  {1:>9}  {layers:>9}")
    for name, variance in (right | wrong).items():
        print(f"{name:28}  {variance[0]:9.2e}  {variance[-1]:9.2e}")
    worst = max(float(max((v / v[0]).max(), (v[0] / v).max())) for v in right.values())
    print(f"\nworst factor with recommend_init: {worst:.2f}")
    if picture is not None:
        draw(right, wrong).savefig(Path(picture), dpi=120)
        print(f"picture: {picture}")
    return worst


def draw(right, wrong):
    """Return the figure: on the left what should be, on the right what happens otherwise, over the same layers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    figure.suptitle(
        "Weights that suit the activation keep a signal's size for fifty layers; others lose it or blow it up"
    )
    titles = "recommend_init(activation): within a factor of two", "other weights: note the scale"
    for axes, lines, title in zip(panels, (right, wrong), titles, strict=True):
        for (name, variance), (colour, style) in zip(lines.items(), STYLES, strict=True):
            layer = np.arange(1, len(variance) + 1)
            axes.plot(layer, variance, color=colour, linestyle=style, linewidth=2, label=name)
        axes.set_yscale("log")
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("layer")
        axes.set_ylabel("variance of activations")
        axes.grid(alpha=0.3)
    panels[0].set_ylim(3e-2, 5e0)
    panels[1].set_ylim(1e-24, 1e36)  # where the first and the last line go on and on
    panels[0].legend(ncols=3, loc="upper center", fontsize=9)
    panels[1].legend(loc="upper right", fontsize=9)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=50)
    parser.add_argument("--width", type=int, default=256, help="units of a layer")
    parser.add_argument("--draws", type=int, default=10, help="how many draws of all weights to average over")
    parser.add_argument("--picture", default="initialisers.png", help="where to draw")
    main(**vars(parser.parse_args()))
