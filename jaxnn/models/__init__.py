"""Models: functions that return layers, meant to be read, copied and changed.

Each is a few lines of `serial`, `parallel`, `residual` and `repeat`, and trains on either road to the gradient. Beside
some stand what they are trained with: the perceptron's rule, the targets of a detector.
"""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.models._convnet import convnet as convnet
    from jaxnn.models._gpt import gpt as gpt
    from jaxnn.models._lstm_classifier import lstm_classifier as lstm_classifier
    from jaxnn.models._mlp import autoencoder as autoencoder
    from jaxnn.models._mlp import mlp as mlp
    from jaxnn.models._perceptron import Separation as Separation
    from jaxnn.models._perceptron import mistake_bound as mistake_bound
    from jaxnn.models._perceptron import perceptron as perceptron
    from jaxnn.models._perceptron import perceptron_trainer as perceptron_trainer
    from jaxnn.models._perceptron import separate as separate
    from jaxnn.models._resnet import resnet as resnet
    from jaxnn.models._unet import unet_small as unet_small
    from jaxnn.models._vae import vae as vae
    from jaxnn.models._yolo import yolo_boxes as yolo_boxes
    from jaxnn.models._yolo import yolo_head as yolo_head
    from jaxnn.models._yolo import yolo_targets as yolo_targets
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Separation",
    "autoencoder",
    "convnet",
    "gpt",
    "lstm_classifier",
    "mistake_bound",
    "mlp",
    "perceptron",
    "perceptron_trainer",
    "resnet",
    "separate",
    "unet_small",
    "vae",
    "yolo_boxes",
    "yolo_head",
    "yolo_targets",
]
