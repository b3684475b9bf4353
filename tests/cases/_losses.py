"""One row per loss of numbers, of classes and of distributions, and for each way to set it."""

import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from cases._kinds import VOCABULARY, B, C, F, OpCase, absent, each, integers, normal, onehot, probabilities, unit


def positive(*shape):
    return lambda random, batch, dtype: jnp.exp(normal(*shape)(random, batch, dtype))


def number(low, high):
    return lambda random, batch, dtype: jnp.asarray(random.uniform(low, high)).astype(dtype)


WEIGHTS, MASK = np.array([0.5, 2.0, 1.0], np.float32), np.array([[True, False, True]])
WEIGHTS, MASK = jnp.asarray(WEIGHTS), jnp.asarray(MASK)
numbers, rows = each(normal(B, C), normal(B, C)), each(normal(B, C), probabilities(B, C))
labels, tokens = each(normal(B, C), integers(C, B)), each(normal(B, 5, C), integers(C, B, 5))

REGRESSION = [
    OpCase("mse", nn.losses.mse, numbers, family="regression"),
    OpCase("mse_of_numbers", nn.losses.mse, each(normal(B), normal(B))),
    OpCase("mse_from_zero", nn.losses.mse, each(normal(B, C), absent)),
    OpCase("half_squared_error", nn.losses.half_squared_error, numbers),
    OpCase("sse", nn.losses.sse, each(normal(B, 2, C), normal(B, 2, C)), family="sums"),
    OpCase("mae", nn.losses.mae, numbers, family="absolute"),
    OpCase("huber_loss", nn.losses.huber_loss, numbers, {"delta": 0.7}, family="huber"),
    OpCase("huber_loss_from_zero", nn.losses.huber_loss, each(normal(B, C), absent)),
    OpCase("log_cosh", nn.losses.log_cosh, numbers, family="log_cosh"),
]
BINARY = [
    OpCase("binary_cross_entropy", nn.losses.binary_cross_entropy, each(normal(B), unit(B)), family="binary"),
    OpCase("binary_cross_entropy_of_integers", nn.losses.binary_cross_entropy, each(normal(B), integers(2, B))),
    OpCase("multilabel_cross_entropy", nn.losses.multilabel_cross_entropy, each(normal(B, C), unit(B, C))),
    OpCase(
        "weighted_binary_cross_entropy",
        nn.losses.weighted_binary_cross_entropy,
        each(normal(B, C), unit(B, C)),
        {"positive_weight": WEIGHTS, "negative_weight": 0.3},
    ),
    OpCase(
        "binary_cross_entropy_from_probabilities",
        nn.losses.binary_cross_entropy_from_probabilities,
        each(unit(B), unit(B)),
        family="log_loss",
    ),
    OpCase(
        "sigmoid_focal_loss",
        nn.losses.sigmoid_focal_loss,
        each(normal(B), unit(B)),
        {"alpha": 0.3, "gamma": 1.5},
        family="focal",
    ),
    OpCase("sigmoid_focal_loss_of_integers", nn.losses.sigmoid_focal_loss, each(normal(B), integers(2, B))),
]
CATEGORICAL = [
    OpCase("cross_entropy", nn.losses.cross_entropy, labels, family="classification"),
    OpCase("cross_entropy_of_tokens", nn.losses.cross_entropy, tokens),
    OpCase("cross_entropy_onehot", nn.losses.cross_entropy, each(normal(B, C), onehot(B, C))),
    OpCase("softmax_cross_entropy_with_integer_labels", nn.losses.softmax_cross_entropy_with_integer_labels, labels),
    OpCase(
        "softmax_cross_entropy_with_integer_labels_of_two_axes",
        nn.losses.softmax_cross_entropy_with_integer_labels,
        each(normal(2, B, C), integers(2 * C, B)),
        {"axis": (2, 0), "where": MASK[None]},
    ),
    OpCase(
        "linear_cross_entropy",
        nn.losses.linear_cross_entropy,
        each(normal(B, F), normal(F, VOCABULARY), normal(VOCABULARY), integers(VOCABULARY, B)),
        {"chunk": 3},  # the last of three chunks begins with two classes of the second
        family="linear_cross_entropy",
        exact=False,
    ),
    OpCase(
        "linear_cross_entropy_of_tokens",
        nn.losses.linear_cross_entropy,
        each(normal(B, 2, F), normal(F, VOCABULARY), absent, integers(VOCABULARY, B, 2)),
        exact=False,
    ),
    OpCase("softmax_cross_entropy", nn.losses.softmax_cross_entropy, rows, family="rows"),
    OpCase(
        "softmax_cross_entropy_of_columns",
        nn.losses.softmax_cross_entropy,
        each(normal(B, 2, C), unit(B, 2, C)),
        {"axis": 1, "where": MASK},
    ),
    OpCase("distillation", nn.losses.distillation, numbers, {"temperature": 2.5}, family="distillation"),
    OpCase("distillation_of_tokens", nn.losses.distillation, each(normal(B, 2, C), normal(B, 2, C))),
    OpCase("safe_softmax_cross_entropy", nn.losses.safe_softmax_cross_entropy, rows),
    OpCase(
        "sparse_cross_entropy",
        nn.losses.sparse_cross_entropy,
        labels,
        {"smoothing": 0.1, "class_weights": WEIGHTS, "ignore": 1},
        family="smoothing",
    ),
    OpCase("sparse_cross_entropy_of_tokens", nn.losses.sparse_cross_entropy, tokens),
    OpCase("softmax_focal_loss", nn.losses.softmax_focal_loss, labels, {"class_weights": WEIGHTS, "gamma": 1.5}),
    OpCase("poly_loss_cross_entropy", nn.losses.poly_loss_cross_entropy, rows, {"epsilon": -1.0}),
    OpCase("poly_loss_cross_entropy_masked", nn.losses.poly_loss_cross_entropy, rows, {"where": MASK}),
    OpCase(
        "cross_entropy_from_probabilities",
        nn.losses.cross_entropy_from_probabilities,
        each(probabilities(B, C), probabilities(B, C)),
    ),
    OpCase(
        "cross_entropy_from_probabilities_of_labels",
        nn.losses.cross_entropy_from_probabilities,
        each(probabilities(B, C), integers(C, B)),
    ),
    OpCase("smooth_labels", nn.losses.smooth_labels, each(onehot(B, C), number(0.1, 0.3)), family="labels"),
    OpCase("smooth_labels_masked", nn.losses.smooth_labels, each(onehot(B, C), number(0.1, 0.3)), {"where": MASK}),
]
DIVERGENCES = [
    OpCase("kl_divergence", nn.losses.kl_divergence, rows, family="divergence"),
    OpCase(
        "kl_divergence_masked", nn.losses.kl_divergence, each(normal(B, 2, C), unit(B, 2, C)), {"where": MASK[None]}
    ),
    OpCase("kl_divergence_with_log_targets", nn.losses.kl_divergence_with_log_targets, numbers),
    OpCase(
        "kl_divergence_with_log_targets_masked",
        nn.losses.kl_divergence_with_log_targets,
        each(normal(B, 2, C), normal(B, 2, C)),
        {"axis": (1, 2), "where": MASK[None]},
    ),
    OpCase("generalized_kl_divergence", nn.losses.generalized_kl_divergence, rows),
    OpCase("generalized_kl_divergence_masked", nn.losses.generalized_kl_divergence, rows, {"where": MASK}),
    OpCase(
        "kl_divergence_from_probabilities",
        nn.losses.kl_divergence_from_probabilities,
        each(probabilities(B, C), probabilities(B, C)),
    ),
    OpCase("jensen_shannon_divergence", nn.losses.jensen_shannon_divergence, rows, family="jensen_shannon"),
    OpCase("jensen_shannon_divergence_masked", nn.losses.jensen_shannon_divergence, rows, {"where": MASK}),
]
LIKELIHOODS = [
    OpCase("poisson_nll", nn.losses.poisson_nll, each(positive(B), positive(B)), {"full": True}),
    OpCase(
        "poisson_nll_from_log_rate",
        nn.losses.poisson_nll_from_log_rate,
        each(normal(B), positive(B)),
        {"full": True},
        family="likelihood",
    ),
    OpCase("poisson_nll_from_log_rate_of_part", nn.losses.poisson_nll_from_log_rate, each(normal(B), positive(B))),
    OpCase("gamma_nll", nn.losses.gamma_nll, each(positive(B), positive(B))),
    OpCase("gamma_nll_from_log_mean", nn.losses.gamma_nll_from_log_mean, each(normal(B), positive(B))),
    OpCase(
        "gaussian_nll",
        nn.losses.gaussian_nll,
        each(normal(B, C), normal(B, C), unit(B, C)),
        {"floor": 0.3},
        family="gaussian",
    ),
    OpCase(
        "gaussian_nll_from_log_variance",
        nn.losses.gaussian_nll_from_log_variance,
        each(normal(B, C, 2), normal(B, C)),
        {"full": True},
    ),
]
MEANS = [
    OpCase("weighted_mean", nn.losses.weighted_mean, each(normal(B, 2), unit(B)), empty=False, family="mean"),
    OpCase("weighted_mean_of_tokens", nn.losses.weighted_mean, each(normal(B, 2, 3), unit(B, 2)), empty=False),
    OpCase("weighted_mean_unweighted", nn.losses.weighted_mean, each(normal(B, 2), absent), empty=False),
]

LOSSES = [*REGRESSION, *BINARY, *CATEGORICAL, *DIVERGENCES, *LIKELIHOODS, *MEANS]
