"""Data sets that need no download."""

import numpy as np

from jaxnn.typing import Data


def digits(test_fraction: float = 0.2, *, seed: int = 0) -> tuple[Data, Data]:
    """Return scikit-learn's 1797 handwritten digits of 8 by 8 pixels as `(train, test)`.

    Args:
        test_fraction: Part of each class that goes into the test set.
        seed: Chooses which.

    Returns:
        Two `Data` with x of shape `(n, 64)`, float32, from 0 to 1, and y of shape `(n,)`, int32, from 0 to 9.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.

    >>> train, test = digits()
    >>> train.x.shape, test.x.shape, int(train.y.max())
    ((1437, 64), (360, 64), 9)

    Source: Alpaydin and Kaynak, "Cascading classifiers" (1998), the test set of the UCI repository.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        error.add_note("  hint: the digits come with scikit-learn: pip install 'jaxnn[examples]'")
        raise
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int32)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=test_fraction, random_state=seed, stratify=y)
    return Data(train_x, train_y), Data(test_x, test_y)
