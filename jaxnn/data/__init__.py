"""Data: sets to begin with, and weights of their examples."""

from jaxnn.data._class_weights import class_weighted as class_weighted
from jaxnn.data._class_weights import class_weights as class_weights
from jaxnn.data._datasets import digits as digits
from jaxnn.typing import Data as Data
from jaxnn.typing import Sequences as Sequences

__all__ = ["Data", "Sequences", "class_weighted", "class_weights", "digits"]
