"""Data: sets to begin with."""

from jaxnn.data._datasets import digits as digits
from jaxnn.typing import Data as Data

__all__ = ["Data", "digits"]
