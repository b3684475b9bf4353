"""One row per op, loss and layer: what the contract tests run every property over.

A new member is one row in the file of its kind. `arrays(random, batch, dtype)` makes the inputs of an op, and
`x(random, batch, dtype)` the input of a layer, from a NumPy generator, so that the same row serves every dtype and
batch size.
"""

from cases import (
    _activations,
    _attention,
    _layers,
    _losses,
    _margins_and_similarities,
    _models,
    _ops,
    _recurrence,
    _regularising,
)
from cases._kinds import VOCABULARY as VOCABULARY
from cases._kinds import LayerCase as LayerCase
from cases._kinds import OpCase as OpCase

OPS = [*_ops.OPS, *_activations.OPS, *_attention.OPS, *_models.OPS, *_recurrence.OPS, *_regularising.OPS]
LOSSES = [*_losses.LOSSES, *_margins_and_similarities.LOSSES, *_models.LOSSES]
LAYERS = [
    *_layers.LAYERS,
    *_activations.LAYERS,
    *_attention.LAYERS,
    *_models.LAYERS,
    *_recurrence.LAYERS,
    *_regularising.LAYERS,
]
