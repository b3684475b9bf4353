"""Which optimizer arrives where, and how, if each has the learning rate that suits it?

Question   500 steps on Rosenbrock's valley, Beale's plain, a saddle (0.25 above two minima, from nearly on its ridge)
           and a quadratic with curvatures of 0.1 and 100; 300 steps of 64-32-10, relu, on scikit-learn's digits. Each
           optimizer with 41 learning rates from 1e-6 to 100, on digits 13 from 1e-4: `vmap` runs them all at once, and
           the one that ends lowest is shown. All else is default, and so is not at its best.
Command    python examples/optimizers_race.py
Hardware   any CPU.
Time       under two minutes on two cores, for 60 optimizers; two and a half where others work there too.
Expected   18 arrive (f - min < 1e-4) on every landscape, among them momentum, adam, prodigy, momo and lbfgs, which ends
           at 0 in float32; sgd on two. On Rosenbrock 18 arrive, on Beale 46, at a minimum beside the saddle 57, on the
           quadratic 30: there sgd ends at 2e-2, momentum at 3e-18. Signs and muon, whose steps do not shrink, end as
           near as their rate is small; sam, which wants flat surroundings, beside the minimum of a narrow valley. Of
           digits, noisy and many, the order is another: momentum averaged exponentially ends at 0.008, muon and
           nesterov at 0.011, adam at 0.040, lbfgs at 0.10. averaged_momentum is momentum with a tenth of its rate.
           On Rosenbrock rounding alone decides about polyak_sgd, which ends at 1e-5 or 1e-4.
           The pictures are optimizers_race.png and optimizers_race_digits.png.

Where an optimizer finds its rate, as dog, prodigy, momo or polyak_sgd, what is swept is a factor of it or the largest
one. `LEFT_OUT` says who does not race; nor do wrappers that change no rule, such as `MultiSteps` and `low_memory`.

Source: Rosenbrock (1960); Beale (1958).
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from jaxnn import optim


def ahead(base: Any) -> optim.Optimizer:
    """Return `lookahead` of an optimizer with its slow parameters in the state, so that it takes the fast ones."""
    inner = optim.lookahead(base, 5, 0.5)

    def init(params):
        return params, inner.init(optim.LookaheadParams.init_synced(params))

    def update(updates, state, params=None):
        slow, state = state
        both: Any
        both, state = inner.update(updates, state, optim.LookaheadParams(params, slow))
        return both.fast, (optim.apply_updates(slow, both.slow), state)

    return optim.Optimizer(init, update)


def after_sgd(search: Any) -> optim.Optimizer:
    """Return a line search along the gradient."""
    return optim.chain(optim.sgd(1.0), search)


ARRIVED = 1e-4
"""Below this, as f - min, a run has arrived."""
NOTHING = 1e-8
"""Below this all values are as good."""
LAST = 20
"""One part in so many of a run is its end."""
# Okabe and Ito's colours with violet for yellow, which is lost on white.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#000000", "#56B4E9", "#CC79A7", "#6A3D9A"]
LEFT_OUT = {
    "dpsgd": "takes gradients of single examples",
    "look_ahead": "is a function of parameters, for models; `nesterov` does the same",
    "schedule_free": "is here as `schedule_free_sgd` and `schedule_free_adamw`",
}
"""What takes a learning rate and does not race, and why."""


def named(*makers: Callable[..., Any]) -> dict[str, Callable[[Any], Any]]:
    """Return optimizers by their names."""
    return {maker.__name__: maker for maker in makers}


# Functions of the learning rate; of a factor or the largest rate where an optimizer finds the rate itself.
OPTIMIZERS = {
    "gradient descent": named(optim.sgd, optim.momentum, optim.nesterov, optim.averaged_momentum)
    | named(optim.optimistic_gradient_descent, optim.proportional_rate)
    | {"noisy_sgd": lambda rate: optim.noisy_sgd(rate, seed=0)},
    "Adam and its kin": named(optim.adam, optim.adamw, optim.nadam, optim.nadamw)
    | named(optim.amsgrad, optim.adamax, optim.adamaxw, optim.radam),
    "other second moments": named(optim.rmsprop, optim.adagrad, optim.adadelta, optim.adabelief)
    | named(optim.acprop, optim.yogi, optim.adopt, optim.optimistic_adam_v2),
    "signs, several averages": named(optim.sign_sgd, optim.signum, optim.lion, optim.rprop)
    | named(optim.adan, optim.ademamix, optim.simplified_ademamix, optim.madgrad),
    "layers and matrices": named(optim.lars, optim.lamb, optim.fromage, optim.novograd)
    | named(optim.adafactor, optim.sm3, optim.muon)
    | {"galore": lambda rate: optim.galore(rate, rank=8, update_proj_gap=20)},
    "rates found on the way": named(optim.dog, optim.dowg, optim.dadapt_adamw, optim.prodigy, optim.cocob)
    | {
        "mechanize": lambda rate: optim.mechanize(optim.adam(rate), s_init=1e-2),
        "hypergradient_descent": lambda rate: optim.hypergradient_descent(optim.scale_by_adam(), rate, 1e-5),
        "multiplicative_hypergradient_descent": lambda rate: optim.multiplicative_hypergradient_descent(
            optim.identity(), rate, 0.02
        ),
    },
    "values and curvature": named(optim.polyak_sgd, optim.momo, optim.momo_adam, optim.lbfgs, optim.sophia)
    | {
        "backtracking": lambda rate: after_sgd(optim.scale_by_backtracking_linesearch(20, max_learning_rate=rate)),
        "zoom": lambda rate: after_sgd(optim.scale_by_zoom_linesearch(20, rate)),
    },
    "around another one": named(optim.schedule_free_sgd, optim.schedule_free_adamw)
    | {
        "lookahead": lambda rate: ahead(optim.momentum(rate)),
        "sam": lambda rate: optim.sam(
            optim.momentum(rate), optim.chain(optim.normalize(), optim.sgd(0.05)), opaque_mode=True
        ),
        "equally_averaged": lambda rate: optim.equally_averaged(optim.momentum(rate)),
        "exponentially_averaged": lambda rate: optim.exponentially_averaged(optim.momentum(rate), 0.9),
    },
}


class Landscape(NamedTuple):
    """A function of a point whose least value is 0, where runs start, where it is least and what to draw of it."""

    f: Callable[[Any, Any], Any]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    view: tuple[float, float, float, float]


def quadratic(x, y):
    """Curvatures of 0.1 and 100 along axes that are turned, so that no coordinate has one of its own."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    return 0.05 * (c * x + s * y) ** 2 + 50.0 * (c * y - s * x) ** 2


LANDSCAPES = {
    "Rosenbrock": Landscape(
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-1.2, 1.0), ((1.0, 1.0),), (-2.0, 1.8, -1.2, 2.6)
    ),
    "Beale": Landscape(
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2,
        (1.0, 0.9),  # at (1, 1) a derivative is 0
        ((3.0, 0.5),),
        (0.5, 3.7, -0.9, 1.2),
    ),
    "saddle": Landscape(
        lambda x, y: x**2 / 2 + (y**2 - 1) ** 2 / 4, (-1.5, 1e-3), ((0.0, -1.0), (0.0, 1.0)), (-1.8, 1.4, -1.6, 1.6)
    ),
    "quadratic": Landscape(quadratic, (-2.0, 0.5), ((0.0, 0.0),), (-2.4, 1.0, -1.6, 1.2)),
}


def run(optimizer: Any, f: Callable[[Any, Any], Any], x: Any, batches: Any = None, steps: int | None = None) -> Any:
    """Minimise f(x, batch); return its value before each step and, where there are no batches, the point as well."""
    optimizer = optim.with_extra_args_support(optimizer)

    def step(carry, batch):
        x, state = carry

        def at(x, **_):
            return f(x, batch)

        value, grad = jax.value_and_grad(at)(x)
        meant = evaluated(x, state)
        seen = value if meant is x else at(meant)
        extra = {"value_fn": at, "obj_fn": at, "grad_fn": lambda x, _: jax.grad(at)(x)}
        updates, state = optimizer.update(grad, state, x, value=value, grad=grad, **extra)
        return (optim.apply_updates(x, updates), state), (seen, meant if batches is None else None)

    return jax.lax.scan(step, (x, optimizer.init(x)), batches, length=steps)[1]


def evaluated(x, state):
    """Return the parameters that a run is judged by: the mean, where an optimizer keeps one."""
    if isinstance(state, optim.ScheduleFreeState):
        return optim.schedule_free_eval_params(state, x)
    if isinstance(state, optim.AveragedParamsState):
        return optim.averaged_params(state)
    return x


def on_landscapes(optimizer, rates, steps):
    """Return values and points of shapes (rates, landscapes, steps) and (rates, landscapes, steps, 1, 2)."""
    functions = [lambda x, f=landscape.f: f(x[0, 0], x[0, 1]) for landscape in LANDSCAPES.values()]
    # A matrix of one row, so that those for matrices are themselves.
    starts = jnp.asarray([[landscape.start] for landscape in LANDSCAPES.values()])

    def one(rate, which, start):
        return run(optimizer(rate), lambda x, _: jax.lax.switch(which, functions, x), start, steps=steps)

    every = jax.vmap(jax.vmap(one, (None, 0, 0)), (0, None, None))
    return jax.jit(every)(rates, jnp.arange(len(functions)), starts)


def on_digits(optimizer, rates, steps):
    """Return the losses of shape (rates, steps)."""
    train, _ = nn.data.digits()
    model = nn.serial(nn.Dense(32), nn.relu, nn.Dense(10))
    params, state = model.init(jax.random.key(0), train.x[:1])
    which = np.random.default_rng(0).integers(train.examples, size=(steps, 64))

    def loss(params, batch):
        return nn.losses.cross_entropy(model.apply(params, state, batch[0])[0], batch[1]).mean()

    one = lambda rate, batches: run(optimizer(rate), loss, params, batches)[0]
    return jax.jit(jax.vmap(one, (0, None)))(rates, (train.x[which], train.y[which]))


class Best(NamedTuple):
    """A run with the learning rate that suits it; `end` is the mean of its last values."""

    rate: float
    end: float
    values: np.ndarray
    path: np.ndarray | None = None


def best(rates, values, paths=None):
    """Return the run that ends lowest; of several below `NOTHING`, the one that is there first."""
    values = np.asarray(values, np.float64)
    values = np.where(np.isfinite(values), values, np.inf)
    ends = values[:, -max(values.shape[1] // LAST, 1) :].mean(axis=1)
    i = np.lexsort(((values > NOTHING).sum(axis=1), np.maximum(ends, NOTHING)))[0]
    return Best(float(rates[i]), float(ends[i]), values[i], None if paths is None else np.asarray(paths)[i])


def main(
    *,
    optimizers: Iterable[str] | None = None,
    rates: int = 41,
    steps: int = 500,
    digits_rates: int = 13,
    digits_steps: int = 300,
    picture: str | None = "optimizers_race.png",
) -> int:
    """Race all or some, print and draw; return how many arrive on every landscape."""
    chosen = {name: make for family in OPTIMIZERS.values() for name, make in family.items()}
    chosen = chosen if optimizers is None else {name: chosen[name] for name in optimizers}
    sweep, digits_sweep = (np.logspace(*ends, dtype=np.float32) for ends in ((-6, 2, rates), (-4, 2, digits_rates)))
    start = time.perf_counter()
    print(f"{'best rate, and f - min or loss':36}" + "".join(f"{name:>18}" for name in [*LANDSCAPES, "digits"]))
    races: dict[str, list[Best]] = {}
    for name, make in chosen.items():
        values, paths = jax.device_get(on_landscapes(make, sweep, steps))
        races[name] = [best(sweep, values[:, i], paths[:, i, :, 0]) for i in range(len(LANDSCAPES))]
        races[name].append(best(digits_sweep, jax.device_get(on_digits(make, digits_sweep, digits_steps))))
        print(f"{name:36}" + "".join(f"  {run.rate:7.1e} {run.end:8.1e}" for run in races[name]), flush=True)
    arrivals = [sum(runs[i].end < ARRIVED for runs in races.values()) for i in range(len(LANDSCAPES))]
    everywhere = sum(all(run.end < ARRIVED for run in runs[:-1]) for runs in races.values())
    print(
        f"\nof {len(races)} arrive, f - min < {ARRIVED:.0e}: " + ", ".join(map("{1} {0}".format, LANDSCAPES, arrivals))
    )
    print(f"on every landscape: {everywhere}; {time.perf_counter() - start:.0f} s")
    if picture is not None:
        path = Path(picture)
        for figure, file in ((draw(races), path), (draw_digits(races), path.with_stem(f"{path.stem}_digits"))):
            figure.savefig(file, dpi=110)
            print(f"picture: {file}")
    return everywhere


def families(races):
    """Return the names that ran, by family."""
    found = {family: [name for name in members if name in races] for family, members in OPTIMIZERS.items()}
    return {family: names for family, names in found.items() if names}


def draw(races):
    """Return the figure of trajectories: a row for each landscape, a column for each family."""
    from matplotlib.figure import Figure

    columns = families(races)
    figure = Figure(figsize=(0.6 + 3.1 * len(columns), 13.2), layout="constrained")
    panels = figure.subplots(len(LANDSCAPES), len(columns), squeeze=False)
    figure.suptitle(
        "Each at its best learning rate, from the white circle to a star. A cross: one ends here and does not arrive "
        f"(f - min < {ARRIVED:.0e}). Below: where each arrives, ●, in the order of the rows",
        fontsize=15,
    )
    for row, (landscape, (f, start, minima, view)) in enumerate(LANDSCAPES.items()):
        x, y = np.meshgrid(np.linspace(*view[:2], 200), np.linspace(*view[2:], 200))
        height = np.log10(f(x, y) + 1e-3)
        levels = np.linspace(height.min(), height.max() + 1e-6, 13)
        greys = [f"{grey:.3f}" for grey in np.linspace(1.0, 0.87, 12)]
        for axes, (family, names) in zip(panels[row], columns.items(), strict=True):
            axes.contourf(x, y, height, levels=levels, colors=greys)
            axes.contour(x, y, height, levels=levels, colors="0.78", linewidths=0.5, linestyles="-")
            for name, colour in zip(names, COLOURS, strict=False):
                run = races[name][row]
                path = np.clip(run.path, -50, 50)  # far outside the view
                marks = "".join("●" if run.end < ARRIVED else "○" for run in races[name][:-1])
                axes.plot(*path.T, color=colour, linewidth=1.0, alpha=0.75, label=f"{marks} {name}")
                if run.end >= ARRIVED:
                    axes.plot(*path[-1], "X", color=colour, markersize=9, markeredgecolor="white", zorder=5)
            axes.plot(*start, "o", color="white", markeredgecolor="black", markersize=8, zorder=4)
            axes.plot(*np.transpose(minima), "*", color="gold", markeredgecolor="black", markersize=15, zorder=4)
            axes.set(xlim=view[:2], ylim=view[2:], xticks=[], yticks=[])
            arrived = sum(races[name][row].end < ARRIVED for name in names)
            axes.set_title(f"{arrived} of {len(names)} arrive", fontsize=10, loc="right")
            if row == 0:
                axes.set_title(f"{family}\n", fontsize=13, fontweight="bold")
            if row == len(LANDSCAPES) - 1:
                legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), fontsize=8.5, handlelength=1.2)
                legend.set_frame_on(False)
                for line in legend.get_lines():
                    line.set(linewidth=2.5, alpha=1)
        panels[row, 0].set_ylabel(landscape, fontsize=14, fontweight="bold")
    return figure


def draw_digits(races):
    """Return the figure of losses on digits: a panel for each family, all with the same axes."""
    from matplotlib.figure import Figure

    columns = families(races)
    across = min(4, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(4.6 * across, 0.6 + 4.6 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    figure.suptitle("Digits, 64-32-10: loss of each batch, smoothed, each at its best learning rate", fontsize=15)
    for axes, (family, names) in zip(panels.flat, columns.items(), strict=False):
        for name, colour in sorted(zip(names, COLOURS, strict=False), key=lambda pair: races[pair[0]][-1].end):
            run = races[name][-1]
            width = min(20, len(run.values))
            smooth = np.exp(np.convolve(np.log(np.maximum(run.values, NOTHING)), np.full(width, 1 / width), "valid"))
            steps = np.arange(width, len(run.values) + 1)
            axes.plot(
                steps, smooth, color=colour, linewidth=1.6, label=f"{run.end:.3f} {name}, {float(f'{run.rate:.0e}'):g}"
            )
        axes.set(yscale="log", ylim=(4e-3, 900))
        axes.set_title(family, fontsize=12, fontweight="bold")
        axes.grid(alpha=0.3)
        axes.legend(title="loss at the end, learning rate", loc="upper right", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    for axes in panels[:, 0]:
        axes.set_ylabel("loss")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="which ones; all by default")
    parser.add_argument("--rates", type=int, default=41, help="how many learning rates on the landscapes")
    parser.add_argument("--steps", type=int, default=500, help="on the landscapes")
    parser.add_argument("--digits-rates", type=int, default=13)
    parser.add_argument("--digits-steps", type=int, default=300)
    parser.add_argument("--picture", default="optimizers_race.png", help="where to draw the trajectories")
    main(**vars(parser.parse_args()))
