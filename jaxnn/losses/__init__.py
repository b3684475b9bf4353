"""Losses: ops of prediction and target that return the loss of each example; the mean is taken afterwards.

A loss has the shape `(batch, ...)` of what it judges, not a mean, so that examples, or tokens, can be
weighed. `weighted_mean` then reduces it, in the trainer and on both roads to the gradient. No loss
broadcasts: `(n, 1)` against `(n,)` would silently compare every prediction with every target.

Where prediction and target have different dtypes, the loss is computed in the one to which JAX promotes both, and has
it, as in optax: float32 for a bfloat16 prediction and float32 targets. Integers and booleans take the prediction's;
labels of binary losses and of rankings take that of their logits, as there too. Each cotangent has the dtype of its own
array, and integers and booleans have none.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.losses._binary import binary_cross_entropy as binary_cross_entropy
    from jaxnn.losses._binary import multilabel_cross_entropy as multilabel_cross_entropy
    from jaxnn.losses._binary import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
    from jaxnn.losses._binary import weighted_binary_cross_entropy as weighted_binary_cross_entropy
    from jaxnn.losses._categorical import cross_entropy as cross_entropy
    from jaxnn.losses._categorical import safe_softmax_cross_entropy as safe_softmax_cross_entropy
    from jaxnn.losses._categorical import softmax_cross_entropy as softmax_cross_entropy
    from jaxnn.losses._ctc import ctc_loss as ctc_loss
    from jaxnn.losses._ctc import ctc_loss_with_forward_probs as ctc_loss_with_forward_probs
    from jaxnn.losses._detection import yolo_loss as yolo_loss
    from jaxnn.losses._dice import binary_dice_loss as binary_dice_loss
    from jaxnn.losses._dice import dice_loss as dice_loss
    from jaxnn.losses._distillation import distillation as distillation
    from jaxnn.losses._divergence import convex_kl_divergence as convex_kl_divergence
    from jaxnn.losses._divergence import generalized_kl_divergence as generalized_kl_divergence
    from jaxnn.losses._divergence import jensen_shannon_divergence as jensen_shannon_divergence
    from jaxnn.losses._divergence import kl_divergence as kl_divergence
    from jaxnn.losses._divergence import kl_divergence_with_log_targets as kl_divergence_with_log_targets
    from jaxnn.losses._embedding import contrastive_loss as contrastive_loss
    from jaxnn.losses._embedding import ntxent as ntxent
    from jaxnn.losses._embedding import triplet_margin_loss as triplet_margin_loss
    from jaxnn.losses._focal import poly_loss_cross_entropy as poly_loss_cross_entropy
    from jaxnn.losses._focal import sigmoid_focal_loss as sigmoid_focal_loss
    from jaxnn.losses._focal import softmax_focal_loss as softmax_focal_loss
    from jaxnn.losses._gaussian import gaussian_nll as gaussian_nll
    from jaxnn.losses._gaussian import gaussian_nll_from_log_variance as gaussian_nll_from_log_variance
    from jaxnn.losses._generalized_dice import multiclass_generalized_dice_loss as multiclass_generalized_dice_loss
    from jaxnn.losses._integer_labels import (
        softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
    )
    from jaxnn.losses._likelihood import gamma_nll as gamma_nll
    from jaxnn.losses._likelihood import gamma_nll_from_log_mean as gamma_nll_from_log_mean
    from jaxnn.losses._likelihood import poisson_nll as poisson_nll
    from jaxnn.losses._likelihood import poisson_nll_from_log_rate as poisson_nll_from_log_rate
    from jaxnn.losses._linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
    from jaxnn.losses._margin import hinge_loss as hinge_loss
    from jaxnn.losses._margin import perceptron_loss as perceptron_loss
    from jaxnn.losses._margin import squared_hinge_loss as squared_hinge_loss
    from jaxnn.losses._multiclass_margin import categorical_hinge_loss as categorical_hinge_loss
    from jaxnn.losses._multiclass_margin import multiclass_hinge_loss as multiclass_hinge_loss
    from jaxnn.losses._multiclass_margin import multiclass_perceptron_loss as multiclass_perceptron_loss
    from jaxnn.losses._penalised_leaves import Penalty as Penalty
    from jaxnn.losses._penalties import elastic_net_penalty as elastic_net_penalty
    from jaxnn.losses._penalties import l1_penalty as l1_penalty
    from jaxnn.losses._penalties import l2_penalty as l2_penalty
    from jaxnn.losses._penalties import soft_threshold as soft_threshold
    from jaxnn.losses._probabilities import (
        binary_cross_entropy_from_probabilities as binary_cross_entropy_from_probabilities,
    )
    from jaxnn.losses._probabilities import cross_entropy_from_probabilities as cross_entropy_from_probabilities
    from jaxnn.losses._probabilities import kl_divergence_from_probabilities as kl_divergence_from_probabilities
    from jaxnn.losses._ranking import ranking_softmax_loss as ranking_softmax_loss
    from jaxnn.losses._regression import absolute_error as absolute_error
    from jaxnn.losses._regression import half_squared_error as half_squared_error
    from jaxnn.losses._regression import huber as huber
    from jaxnn.losses._regression import huber_loss as huber_loss
    from jaxnn.losses._regression import l2_loss as l2_loss
    from jaxnn.losses._regression import log_cosh as log_cosh
    from jaxnn.losses._regression import mae as mae
    from jaxnn.losses._regression import mse as mse
    from jaxnn.losses._regression import squared_error as squared_error
    from jaxnn.losses._regression import sse as sse
    from jaxnn.losses._similarity import cosine_distance as cosine_distance
    from jaxnn.losses._similarity import cosine_proximity as cosine_proximity
    from jaxnn.losses._similarity import cosine_similarity as cosine_similarity
    from jaxnn.losses._smoothing import label_weights as label_weights
    from jaxnn.losses._smoothing import smooth_labels as smooth_labels
    from jaxnn.losses._smoothing import sparse_cross_entropy as sparse_cross_entropy
    from jaxnn.losses._sparsemax import make_fenchel_young_loss as make_fenchel_young_loss
    from jaxnn.losses._sparsemax import multiclass_sparsemax_loss as multiclass_sparsemax_loss
    from jaxnn.losses._sparsemax import sparsemax_loss as sparsemax_loss
    from jaxnn.losses._variational import gaussian_kl as gaussian_kl
    from jaxnn.losses._variational import negative_elbo as negative_elbo
    from jaxnn.losses._weighted_mean import weighted_mean as weighted_mean
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Penalty",
    "absolute_error",
    "binary_cross_entropy",
    "binary_cross_entropy_from_probabilities",
    "binary_dice_loss",
    "categorical_hinge_loss",
    "contrastive_loss",
    "convex_kl_divergence",
    "cosine_distance",
    "cosine_proximity",
    "cosine_similarity",
    "cross_entropy",
    "cross_entropy_from_probabilities",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "dice_loss",
    "distillation",
    "elastic_net_penalty",
    "gamma_nll",
    "gamma_nll_from_log_mean",
    "gaussian_kl",
    "gaussian_nll",
    "gaussian_nll_from_log_variance",
    "generalized_kl_divergence",
    "half_squared_error",
    "hinge_loss",
    "huber",
    "huber_loss",
    "jensen_shannon_divergence",
    "kl_divergence",
    "kl_divergence_from_probabilities",
    "kl_divergence_with_log_targets",
    "l1_penalty",
    "l2_loss",
    "l2_penalty",
    "label_weights",
    "linear_cross_entropy",
    "log_cosh",
    "mae",
    "make_fenchel_young_loss",
    "mse",
    "multiclass_generalized_dice_loss",
    "multiclass_hinge_loss",
    "multiclass_perceptron_loss",
    "multiclass_sparsemax_loss",
    "multilabel_cross_entropy",
    "negative_elbo",
    "ntxent",
    "perceptron_loss",
    "poisson_nll",
    "poisson_nll_from_log_rate",
    "poly_loss_cross_entropy",
    "ranking_softmax_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "soft_threshold",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "softmax_focal_loss",
    "sparse_cross_entropy",
    "sparsemax_loss",
    "squared_error",
    "squared_hinge_loss",
    "sse",
    "triplet_margin_loss",
    "weighted_binary_cross_entropy",
    "weighted_mean",
    "yolo_loss",
]
