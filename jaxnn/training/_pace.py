"""Pace: how long a step takes, hence how many steps make a chunk and how long the rest will take."""

import time
from collections.abc import Callable
from typing import final

# Long enough that starting and looking at a chunk (0.2 ms) is nothing, short enough for a bar that moves and for
# a Ctrl-C that waits for two of them.
SECONDS = 0.25


@final
class Pace:
    """Measures chunks as they finish, one after the other, and sizes the next by it.

    The first chunk is one step, and none is more than 32 times the one measured last: what a cold first step
    takes says little.

    >>> ticks = iter([0.0, 0.1, 0.2, 0.3])
    >>> pace = Pace(clock=lambda: next(ticks))
    >>> sizes = [pace.size()]
    >>> for _ in range(3):
    ...     pace.finished(sizes[-1])
    ...     sizes.append(pace.size())
    >>> sizes, round(pace.seconds(40), 3)
    ([1, 2, 5, 12], 1.348)
    """

    def __init__(self, fixed: int | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._fixed, self._clock = fixed, clock
        self._since = clock()
        self._next = 1
        self._steps = self._seconds = 0.0  # of late
        self.elapsed = 0.0  # seconds that all chunks took

    def size(self) -> int:
        """How many steps the next chunk should have."""
        return self._next if self._fixed is None else self._fixed

    def begin(self) -> None:
        """Measure from now on: the program is compiled."""
        self._since = self._clock()

    def finished(self, steps: int) -> None:
        """Take note that a chunk has finished, right after the one before."""
        now = self._clock()
        took, self._since = now - self._since, now
        self.elapsed += took
        self._next = max(1, min(32 * steps, int(SECONDS * steps / max(took, 1e-9))))
        # Chunks of the past count for less and less, so that the estimate follows a machine that slows down.
        self._steps = 0.8 * self._steps + steps
        self._seconds = 0.8 * self._seconds + took

    def seconds(self, steps: int) -> float:
        """How long so many steps take, by the chunks of late; 0 before the first has finished."""
        return steps * self._seconds / self._steps if self._steps else 0.0
