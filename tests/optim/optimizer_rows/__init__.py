"""One row per optimizer: under every row, every property of the contract tests is checked."""

from optimizer_rows import (
    adagrad,
    adam,
    clipping,
    descent,
    layerwise,
    line_search,
    links,
    moments,
    parameter_free,
    rmsprop,
    signs,
)
from optimizer_rows._row import Row as Row
from optimizer_rows._row import only_w as only_w

_FAMILIES = (
    descent,
    adam,
    adagrad,
    rmsprop,
    moments,
    signs,
    layerwise,
    parameter_free,
    clipping,
    line_search,
    links,
)
OPTIMIZERS = [row for family in _FAMILIES for row in family.ROWS]
