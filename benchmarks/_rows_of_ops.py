"""One row for each op and loss with a hand-written backward: the arrays and settings at which it is timed.

Batches and features are those of a layer in use, about a mebibyte of activations; tiny ones are for a quick run. All
numbers are random: on zeros, products and powers of two are not what they cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn as nn

Draw: TypeAlias = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Row:
    """An op or a loss, what it is called with, and how."""

    op: nn.Op
    draws: tuple[Draw, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def arrays(self, seed: int) -> tuple[Any, ...]:
        """Return random arrays."""
        random = np.random.default_rng(seed)
        return tuple(draw(random) for draw in self.draws)


def normal(*shape: int) -> Draw:
    """Numbers that are normal."""
    return lambda random: jnp.asarray(random.standard_normal(shape, np.float32))


def positive(*shape: int) -> Draw:
    """Numbers above 0."""
    return lambda random: jnp.asarray(np.exp(random.standard_normal(shape, np.float32)))


def unit(*shape: int) -> Draw:
    """Numbers between 0 and 1."""
    return lambda random: jnp.asarray(random.uniform(0.1, 0.9, shape).astype(np.float32))


def share(*shape: int) -> Draw:
    """Probabilities along the last axis."""
    return lambda random: jnp.asarray(random.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32))


def labels(high: int, *shape: int, low: int = 0) -> Draw:
    """Integers from `low` to below `high`."""
    return lambda random: jnp.asarray(random.integers(low, high, shape), jnp.int32)


def signs(*shape: int) -> Draw:
    """Minus one and one."""
    return lambda random: jnp.asarray(random.choice(np.array([-1, 1], np.float32), shape))


def zeros(*shape: int) -> Draw:
    """No padding anywhere."""
    return lambda random: jnp.zeros(shape, jnp.int32)


def key(random: np.random.Generator) -> Any:
    """A key."""
    return jax.random.key(int(random.integers(2**31)))


def absent(random: np.random.Generator) -> None:
    """No array."""


def activations(quick: bool) -> list[Row]:
    """Return those that work element by element."""
    o, x, f = nn.ops, normal(*((4, 8) if quick else (256, 1024))), 8 if quick else 1024
    alone = (
        o.relu, o.relu6, o.leaky_relu, o.elu, o.celu, o.selu, o.softplus, o.squareplus, o.sparse_plus, o.sigmoid,
        o.log_sigmoid, o.hard_sigmoid, o.tanh, o.hard_tanh, o.sparse_sigmoid, o.soft_sign, o.silu, o.hard_silu, o.mish,
        o.gelu, o.gelu_tanh, o.glu, o.swiglu, o.identity, o.step,
    )  # fmt: skip
    return [*(Row(op, (x,)) for op in alone), Row(o.prelu, (x, normal(f))), Row(o.parametric_swish, (x, normal(f)))]


def normalisation(quick: bool) -> list[Row]:
    """Return what shifts and scales."""
    o, b, f, side = nn.ops, *((4, 8, 4) if quick else (1024, 256, 16))
    x, of_f, image = normal(b, f), normal(f), normal(*((2, 4, 4, 8) if quick else (32, side, side, 64)))
    of_image = normal(8 if quick else 64)
    return [
        Row(o.layer_norm, (x, of_f, of_f)),
        Row(o.rms_norm, (x, of_f)),
        Row(o.standardize, (x,)),
        Row(o.batch_norm, (image, of_image, of_image)),
        Row(o.normalise, (image, of_image, unit(8 if quick else 64), of_image, of_image)),
        Row(o.group_norm, (image, of_image, of_image), {"groups": 8}),
        Row(o.instance_norm, (image, of_image, of_image)),
        Row(o.spectral_norm, (normal(b, f), normal(f), normal(b))),
        Row(o.bias, (x, of_f)),
        Row(o.feature_gate, (image, normal(2 if quick else 32, 8 if quick else 64))),
    ]


def products(quick: bool) -> list[Row]:
    """Return matrix products, tables, and what only moves numbers."""
    o, b, f, g = nn.ops, *((4, 8, 6) if quick else (256, 512, 512))
    of_steps = (2, 3, 8) if quick else (16, 128, 128)
    x, steps = normal(b, f), normal(*of_steps)
    table = (11, 8) if quick else (8192, 128)
    return [
        Row(o.linear, (steps, normal(of_steps[-1], g), normal(g))),
        Row(o.embed, (labels(table[0], *((2, 3) if quick else (16, 128))), normal(*table))),
        Row(o.flatten, (steps,)),
        Row(o.reshape, (steps,), {"shape": -1}),
        Row(o.concatenate, (x, x)),
        Row(o.add, (x, x)),
        Row(o.last, (steps, absent)),
        Row(o.mean_over_time, (steps, absent)),
    ]


def softmax(quick: bool) -> list[Row]:
    """Return softmax, and what is made of the predictions of several members."""
    o, b, c, m = nn.ops, *((4, 3, 2) if quick else (1024, 256, 4))
    x, members = normal(b, c), normal(m, b, c)
    return [
        Row(o.softmax, (x,)),
        Row(o.log_softmax, (x,)),
        Row(o.tempered, (x, unit())),
        Row(o.soft_vote, (members, unit(m))),
        Row(o.hard_vote, (members, unit(m))),
        Row(o.mean_of_members, (members, unit(m))),
        Row(o.sum_of_members, (members, normal(m))),
    ]


def losses_of_classes(quick: bool) -> list[Row]:
    """Return losses of classes, rankings and alignments."""
    l, b, c, t = nn.losses, *((4, 3, 4) if quick else (512, 512, 64))
    x, y, p, one = normal(b, c), labels(c, b), share(b, c), normal(b * c)
    binary, head = unit(b * c), (4, 3, 5) if quick else (512, 128, 8192)
    n, said = (2, 2) if quick else (8, 16)
    aligned = normal(n, t, c), zeros(n, t), labels(c, n, said, low=1), zeros(n, said)
    return [
        Row(l.cross_entropy, (x, y)),
        Row(l.linear_cross_entropy, (normal(*head[:2]), normal(*head[1:]), normal(head[2]), labels(head[2], head[0]))),
        Row(l.softmax_cross_entropy, (x, p)),
        Row(l.softmax_cross_entropy_with_integer_labels, (x, y)),
        Row(l.sparse_cross_entropy, (x, y), {"smoothing": 0.1}),
        Row(l.safe_softmax_cross_entropy, (x, p)),
        Row(l.softmax_focal_loss, (x, y)),
        Row(l.poly_loss_cross_entropy, (x, p)),
        Row(l.cross_entropy_from_probabilities, (p, y)),
        Row(l.distillation, (x, normal(b, c)), {"temperature": 2.5}),
        Row(l.smooth_labels, (p, unit())),
        Row(l.binary_cross_entropy, (one, binary)),
        Row(l.multilabel_cross_entropy, (x, unit(b, c))),
        Row(l.weighted_binary_cross_entropy, (x, unit(b, c)), {"positive_weight": 2.0}),
        Row(l.binary_cross_entropy_from_probabilities, (binary, binary)),
        Row(l.sigmoid_focal_loss, (one, binary), {"alpha": 0.3}),
        Row(l.hinge_loss, (one, signs(b * c))),
        Row(l.squared_hinge_loss, (x, signs(b, c))),
        Row(l.perceptron_loss, (one, signs(b * c))),
        Row(l.multiclass_hinge_loss, (x, y)),
        Row(l.multiclass_perceptron_loss, (x, y)),
        Row(l.categorical_hinge_loss, (x, y)),
        Row(l.sparsemax_loss, (one, labels(2, b * c))),
        Row(l.multiclass_sparsemax_loss, (x, y)),
        Row(l.ranking_softmax_loss, (x, unit(b, c)), {"reduce_fn": None}),
        Row(l.ctc_loss, aligned),
        Row(l.ctc_loss_with_forward_probs, aligned),
    ]


def losses_of_numbers(quick: bool) -> list[Row]:
    """Return losses of numbers, distributions, directions and overlaps, and penalties."""
    l, b, c = nn.losses, *((4, 3) if quick else (512, 512))
    x, p, above, one = normal(b, c), share(b, c), positive(b * c), normal(b * c)
    pair, areas = (x, normal(b, c)), (normal(*((2, 4, 3) if quick else (16, 1024, 16))),)
    grid = (2, 3, 3) if quick else (16, 13, 13)
    boxes = normal(*grid, 30), _boxes(grid, 25)
    return [
        *(Row(op, pair) for op in (l.mse, l.half_squared_error, l.sse, l.mae, l.huber_loss, l.log_cosh)),
        Row(l.kl_divergence, (x, p)),
        Row(l.kl_divergence_with_log_targets, pair),
        Row(l.generalized_kl_divergence, (x, p)),
        Row(l.kl_divergence_from_probabilities, (p, p)),
        Row(l.jensen_shannon_divergence, (x, p)),
        Row(l.gaussian_kl, pair),
        Row(l.negative_elbo, (lambda random: (x(random), (x(random), x(random))), unit(b, c))),
        Row(l.poisson_nll, (above, above)),
        Row(l.poisson_nll_from_log_rate, (one, above)),
        Row(l.gamma_nll, (above, above)),
        Row(l.gamma_nll_from_log_mean, (one, above)),
        Row(l.gaussian_nll, (*pair, unit(b, c))),
        Row(l.gaussian_nll_from_log_variance, (normal(b, c, 2), x)),
        Row(l.weighted_mean, (x, unit(b))),
        Row(l.cosine_similarity, pair),
        Row(l.cosine_distance, pair),
        Row(l.cosine_proximity, pair),
        Row(l.triplet_margin_loss, (*pair, normal(b, c)), {"margin": 1.5}),
        Row(l.contrastive_loss, (*pair, labels(2, b))),
        Row(l.ntxent, (x, labels(max(b // 4, 2), b)), {"temperature": 0.5}),
        Row(l.dice_loss, (*areas, share(*((2, 4, 3) if quick else (16, 1024, 16))))),
        Row(l.binary_dice_loss, (x, unit(b, c))),
        Row(l.multiclass_generalized_dice_loss, (*areas, share(*((2, 4, 3) if quick else (16, 1024, 16))))),
        Row(l.yolo_loss, boxes),
        *(Row(op, (x,), {"strength": 0.3}) for op in (l.l1_penalty, l.l2_penalty)),
        Row(l.elastic_net_penalty, (x,), {"l1": 0.3, "l2": 0.2}),
        Row(l.soft_threshold, (x,), {"threshold": 0.4}),
    ]


def _boxes(grid: tuple[int, ...], numbers: int) -> Draw:
    """Targets of which some cells hold a box, and all numbers are between 0 and 1."""

    def draw(random):
        y = random.uniform(0.1, 0.9, (*grid, numbers)).astype(np.float32)
        y[..., 4] = random.integers(0, 2, grid)
        return jnp.asarray(y)

    return draw


def convolution(quick: bool) -> list[Row]:
    """Return convolutions of 3x3."""
    o, b, side, f = nn.ops, *((2, 6, 8) if quick else (32, 14, 64))
    x, w, bias = normal(b, side, side, f), normal(3, 3, f, f), normal(f)
    return [
        Row(o.conv, (x, w, bias)),
        Row(o.conv_transpose, (x, normal(3, 3, f, f), bias), {"stride": 2}),
        Row(o.depthwise_conv, (x, normal(3, 3, 1, f), bias)),
    ]


def pooling(quick: bool) -> list[Row]:
    """Return what takes one number of many."""
    o, x = nn.ops, normal(*((2, 4, 4, 2) if quick else (32, 28, 28, 32)))
    return [
        Row(o.max_pool, (x,), {"window": (2, 2)}),
        Row(o.average_pool, (x,), {"window": (2, 2)}),
        Row(o.adaptive_max_pool, (x,), {"size": (2, 3)}),
        Row(o.adaptive_average_pool, (x,), {"size": (2, 3)}),
        Row(o.global_max_pool, (x,)),
        Row(o.global_average_pool, (x,)),
    ]


def attention(quick: bool) -> list[Row]:
    """Return attention, and rotations by position."""
    o, b, t, h, f = nn.ops, *((2, 5, 2, 4) if quick else (16, 128, 4, 32))
    x = normal(b, t, h, f)
    return [Row(o.attention, (x, x, x), {"causal": True}), Row(o.rotary, (x, lambda random: jnp.arange(t)))]


def recurrence(quick: bool) -> list[Row]:
    """Return the cells over sequences."""
    o, b, t, f, h = nn.ops, *((2, 5, 3, 4) if quick else (32, 64, 32, 128))
    scaled = lambda *shape: lambda random: normal(*shape)(random) / np.float32(shape[0] ** 0.5)
    cell = lambda gates, carries: (
        normal(b, t, f),
        *[normal(b, h)] * carries,
        scaled(f, gates * h),
        scaled(h, gates * h),
        scaled(gates * h),
    )
    return [Row(o.rnn, cell(1, 1)), Row(o.lstm, cell(4, 2)), Row(o.gru, cell(3, 1))]


def noise(quick: bool) -> list[Row]:
    """Return what draws random numbers."""
    o, x = nn.ops, normal(*((4, 8) if quick else (256, 1024)))
    return [
        Row(o.dropout, (x, unit(), key)),
        Row(o.gaussian_noise, (x, unit(), key)),
        Row(o.gaussian_sample, (x, x, key)),
    ]


GROUPS: dict[str, Callable[[bool], list[Row]]] = {
    "activations": activations,
    "normalisation": normalisation,
    "softmax": softmax,
    "losses-of-classes": losses_of_classes,
    "losses-of-numbers": losses_of_numbers,
    "products": products,
    "convolution": convolution,
    "pooling": pooling,
    "attention": attention,
    "recurrence": recurrence,
    "noise": noise,
}
