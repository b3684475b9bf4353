"""One row per loss."""

import jaxnn as nn
from cases._kinds import B, C, OpCase, absent, each, integers, normal, onehot, probabilities, unit

LOSSES = [
    OpCase("mse", nn.losses.mse, each(normal(B, C), normal(B, C)), family="regression"),
    OpCase("mse_of_numbers", nn.losses.mse, each(normal(B), normal(B))),
    OpCase("cross_entropy", nn.losses.cross_entropy, each(normal(B, C), integers(C, B)), family="classification"),
    OpCase("cross_entropy_of_tokens", nn.losses.cross_entropy, each(normal(B, 5, C), integers(C, B, 5))),
    OpCase("cross_entropy_onehot", nn.losses.cross_entropy, each(normal(B, C), onehot(B, C))),
    OpCase(
        "softmax_cross_entropy_with_integer_labels",
        nn.losses.softmax_cross_entropy_with_integer_labels,
        each(normal(B, C), integers(C, B)),
    ),
    OpCase("softmax_cross_entropy", nn.losses.softmax_cross_entropy, each(normal(B, C), probabilities(B, C))),
    OpCase("binary_cross_entropy", nn.losses.binary_cross_entropy, each(normal(B), unit(B)), family="binary"),
    OpCase("weighted_mean", nn.losses.weighted_mean, each(normal(B, 2), unit(B)), empty=False, family="mean"),
    OpCase("weighted_mean_of_tokens", nn.losses.weighted_mean, each(normal(B, 2, 3), unit(B, 2)), empty=False),
    OpCase("weighted_mean_unweighted", nn.losses.weighted_mean, each(normal(B, 2), absent), empty=False),
]
