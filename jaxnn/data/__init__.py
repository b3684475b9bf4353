"""Data: sets to begin with."""

from jaxnn.data._datasets import digits as digits
from jaxnn.typing import Data as Data
from jaxnn.typing import Sequences as Sequences

__all__ = ["Data", "Sequences", "digits"]
