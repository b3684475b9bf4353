"""Ctrl-C as a question that a loop answers when it can, rather than an exception wherever it happens to be."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C is only noted, and the function that this yields tells; a second one raises.

    Python hands signals to its main thread alone: in another one nothing changes. Nor does it where Ctrl-C is
    ignored (`nohup`), or handled by what is not Python and could not be put back.

    Raises:
        KeyboardInterrupt: At the second Ctrl-C.

    >>> with interruptible() as interrupted:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupted()
    True
    """
    asked = False

    def note(signum, frame):
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (None, signal.SIG_IGN):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
