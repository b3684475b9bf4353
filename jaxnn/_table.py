"""Text tables, for summaries and comparisons."""

import math
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, align: str) -> str:
    """Return a table with a ruled header; `align` has `<` or `>` for every column.

    >>> print(table(["leaf", "size"], [["w", "640"], ["b", "10"]], align="<>"))
    leaf  size
    ----  ----
    w      640
    b       10
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
        for row in [header, rule, *rows]
    ]
    return "\n".join(lines)


def binary_size(count: float | int) -> str:
    """Return a number of bytes in units of 1024.

    >>> binary_size(200), binary_size(200960), binary_size(3 * 2**30)
    ('200 B', '196.2 KiB', '3.0 GiB')
    """
    if count < 1024:
        return f"{count:.0f} B"
    power = min(int(math.log2(count)) // 10, 4)
    return f"{count / 1024**power:.1f} {'KMGT'[power - 1]}iB"


def short_count(count: int) -> str:
    """Return a number of things in units of 1000, whole below that.

    >>> short_count(640), short_count(999_999), short_count(4_089_184_256)
    ('640', '1.0M', '4.1G')
    """
    power = min((len(str(count)) - 1) // 3, 5)
    if round(count / 1000**power, 1) >= 1000 and power < 5:
        power += 1
    return f"{count / 1000**power:.1f}{'KMGTP'[power - 1]}" if power else str(count)
