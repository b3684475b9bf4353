"""One row per loss of margins, directions, overlaps, rankings and alignments, and per penalty."""

import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from cases._kinds import B, C, F, OpCase, each, integers, normal, onehot, probabilities, unit

LENGTHS = np.array([4, 2, 3, 1, 0, 3])


def signs(*shape):
    draw = integers(2, *shape)
    return lambda random, batch, dtype: (2 * draw(random, batch, dtype) - 1).astype(dtype)


def padded(time):
    """1 behind the length of each, which differs."""
    absent = lambda batch: np.arange(time) >= np.resize(LENGTHS, batch)[:, None] + 1
    return lambda random, batch, dtype: jnp.asarray(absent(batch), jnp.int32)


def spoken(high, *shape):
    """Labels without the blank, 0, of which some are said twice in a row."""
    draw = integers(high - 1, *shape)
    return lambda random, batch, dtype: draw(random, batch, dtype) + 1


SEQUENCES = each(normal(B, 7, C), padded(7), spoken(C, B, 3), padded(3))

LOSSES = [
    OpCase("hinge_loss", nn.losses.hinge_loss, each(normal(B), signs(B)), family="margin"),
    OpCase("squared_hinge_loss", nn.losses.squared_hinge_loss, each(normal(B, C), signs(B, C))),
    OpCase("perceptron_loss", nn.losses.perceptron_loss, each(normal(B), signs(B))),
    OpCase("multiclass_hinge_loss", nn.losses.multiclass_hinge_loss, each(normal(B, C), integers(C, B)),
           family="margin_of_classes"),
    OpCase("multiclass_perceptron_loss", nn.losses.multiclass_perceptron_loss,
           each(normal(B, 2, C), integers(C, B, 2))),
    OpCase("categorical_hinge_loss", nn.losses.categorical_hinge_loss, each(normal(B, C), onehot(B, C))),
    OpCase("categorical_hinge_loss_of_labels", nn.losses.categorical_hinge_loss, each(normal(B, C), integers(C, B)),
           {"margin": 0.5}),
    OpCase("sparsemax_loss", nn.losses.sparsemax_loss, each(normal(B), integers(2, B))),
    OpCase("multiclass_sparsemax_loss", nn.losses.multiclass_sparsemax_loss, each(normal(B, C), integers(C, B))),
    OpCase("cosine_similarity", nn.losses.cosine_similarity, each(normal(B, F), normal(B, F)), family="direction"),
    OpCase("cosine_similarity_at_the_floor", nn.losses.cosine_similarity, each(normal(B, F), normal(B, F)),
           {"epsilon": 3.0}),
    OpCase("cosine_distance", nn.losses.cosine_distance, each(normal(B, 3, 2), normal(B, 3, 2)), {"axis": (-2, -1)}),
    OpCase("cosine_proximity", nn.losses.cosine_proximity, each(normal(B, F), normal(B, F))),
    OpCase("cosine_proximity_of_columns", nn.losses.cosine_proximity, each(normal(B, F, 2), normal(B, F, 2)),
           {"axis": 1}),
    OpCase("triplet_margin_loss", nn.losses.triplet_margin_loss, each(normal(B, F), normal(B, F), normal(B, F)),
           {"margin": 1.5}, family="embedding"),
    OpCase("triplet_margin_loss_of_degree_3", nn.losses.triplet_margin_loss,
           each(normal(B, F), normal(B, F), normal(B, F)), {"norm_degree": 3, "axis": -1}),
    OpCase("contrastive_loss", nn.losses.contrastive_loss, each(normal(B, F), normal(B, F), integers(2, B)),
           {"margin": 3.0}),
    OpCase("ntxent", nn.losses.ntxent, each(normal(B, F), integers(2, B)), {"temperature": 0.5}, empty=False),
    OpCase("dice_loss", nn.losses.dice_loss, each(normal(B, 3, 2, C), probabilities(B, 3, 2, C)),
           {"alpha": 0.3, "beta": 0.7, "class_weights": (0.5, 2.0, 1.0)}, family="overlap"),
    OpCase("dice_loss_of_each_class", nn.losses.dice_loss, each(normal(B, 4, C), onehot(B, 4, C)),
           {"reduction": "none", "ignore_background": True, "axis": 1}),
    OpCase("dice_loss_of_probabilities", nn.losses.dice_loss, each(probabilities(B, 4, C), probabilities(B, 4, C)),
           {"reduction": "sum", "apply_softmax": False, "ignore_background": True}),
    OpCase("binary_dice_loss", nn.losses.binary_dice_loss, each(normal(B, 3, 2), unit(B, 3, 2))),
    OpCase("multiclass_generalized_dice_loss", nn.losses.multiclass_generalized_dice_loss,
           each(normal(B, 4, C), probabilities(B, 4, C)), {"ignore_background": True}, empty=False),
    OpCase("ranking_softmax_loss", nn.losses.ranking_softmax_loss, each(normal(B, F), unit(B, F)), {"reduce_fn": None},
           family="ranking"),
    OpCase("ranking_softmax_loss_of_a_batch", nn.losses.ranking_softmax_loss, each(normal(B, F), integers(3, B, F)),
           empty=False),
    OpCase("ctc_loss", nn.losses.ctc_loss, SEQUENCES, {"log_epsilon": -50.0}, family="alignment"),
    OpCase("ctc_loss_with_forward_probs", nn.losses.ctc_loss_with_forward_probs,
           each(normal(B, 4, C), padded(4), spoken(C, B, 2), padded(2)), {"blank_id": 0, "log_epsilon": -20.0},
           empty=False),
    OpCase("l1_penalty", nn.losses.l1_penalty, each(normal(F, C)), {"strength": 0.3}, empty=False),
    OpCase("l2_penalty", nn.losses.l2_penalty, each(normal(F, C)), {"strength": 0.3}, empty=False),
    OpCase("elastic_net_penalty", nn.losses.elastic_net_penalty, each(normal(F, C)), {"l1": 0.3, "l2": 0.2},
           empty=False, family="penalty"),
    OpCase("soft_threshold", nn.losses.soft_threshold, each(normal(B, F)), {"threshold": 0.4}, family="proximal"),
]  # fmt: skip
