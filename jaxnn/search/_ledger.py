"""A sweep's ledger: finished members on disk, so that a sweep that was killed goes on where it was.

It is a file of JSON lines. The first says of which sweep it is; each of the others is a finished member. Lines are
only ever added, those of a block at once, and are on the disk before the next block begins. So whenever a process is
killed, what it leaves is a beginning of the whole file: some lines, and perhaps a part of one, which is dropped.
"""

import hashlib
import json
import os
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import jax
import numpy as np

from jaxnn.search._space import Column
from jaxnn.tree import named_leaves
from jaxnn.typing import Key

FORMAT = 1


@final
class Ledger:
    """An open ledger: the members that it had when it was opened, and a place to write further ones."""

    def __init__(self, file: Any, finished: dict[tuple[int, int], list[np.ndarray]]) -> None:
        self._file = file
        self.finished = finished  # leaves of the results by trial and seed

    def append(self, members: Sequence[tuple[int, int]], results: Mapping[str, np.ndarray]) -> None:
        """Write members, whose results are along the leading axis of each leaf; return when they are on the disk."""
        lines = [
            {"trial": trial, "seed": seed, "results": {name: leaf[i].tolist() for name, leaf in results.items()}}
            for i, (trial, seed) in enumerate(members)
        ]
        _write(self._file, "".join(json.dumps(line) + "\n" for line in lines))


def header(columns: Mapping[str, Column], key: Key, seeds: int, results: Any) -> dict[str, Any]:
    """Return what tells one sweep from another; what its function computes can not be seen.

    Args:
        columns: Hyperparameters, each by a digest of its values in all trials.
        key: Of the sweep.
        seeds: Members a trial.
        results: Outlines of a member's.
    """
    return {
        "jaxnn ledger": FORMAT,
        "key": np.asarray(jax.random.key_data(key)).ravel().tolist(),
        "trials": len(next(iter(columns.values()))),
        "seeds": seeds,
        "hyperparameters": {name: _digest(column) for name, column in columns.items()},
        "results": {name: f"{a.dtype}[{','.join(map(str, a.shape))}]" for name, a in named_leaves(results).items()},
    }


@contextmanager
def opened(path: str | os.PathLike, header: Mapping[str, Any], results: Any) -> Iterator[Ledger]:
    """Open a ledger, or begin one, and close it in the end.

    Raises:
        ValueError: The file is no ledger, or one of another sweep, or damaged; it stays as it is.
    """
    path = Path(path)
    first = json.dumps(header) + "\n"
    text = path.read_bytes() if path.exists() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if not whole and not first.encode().startswith(text):
        raise ValueError(f"expected a ledger, because finished members are added to it; got {path}, which is none")
    finished = _read(path, whole, header, named_leaves(results)) if whole else {}
    with path.open("ab") as file:
        file.truncate(len(whole))  # what was being written when the process was killed
        if not whole:
            _write(file, first)
            _sync_directory(path)
        yield Ledger(file, finished)


def _write(file: Any, text: str) -> None:
    file.write(text.encode())
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """A new file is on the disk only if its name is."""
    if os.name == "posix":
        directory = os.open(path.resolve().parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read(
    path: Path, text: bytes, header: Mapping[str, Any], outlines: Mapping[str, Any]
) -> dict[tuple[int, int], list[np.ndarray]]:
    first, *lines = text.splitlines()
    _check_same(path, first, header)
    finished = {}
    for number, line in enumerate(lines, start=2):
        try:
            member = json.loads(line)
            trial, seed, results = (member[name] for name in ("trial", "seed", "results"))
            leaves = [np.array(results[name], a.dtype).reshape(a.shape) for name, a in outlines.items()]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"expected a finished member in every line of {path}, because a sweep goes on from them; "
                             f"got in line {number} {_short(line)}\n  hint: what is before that line is good: remove "
                             "it and all that follow") from None  # fmt: skip
        finished[trial, seed] = leaves
    return finished


def _check_same(path: Path, line: bytes, header: Mapping[str, Any]) -> None:
    try:
        got = json.loads(line)
    except ValueError:
        got = None
    if not isinstance(got, dict) or "jaxnn ledger" not in got:
        raise ValueError(f"expected a ledger, because finished members are added to it; got {path}, which begins with "
                         f"{_short(line)}")  # fmt: skip
    if got != header:
        raise ValueError(f"expected the ledger of this sweep, because its members are not computed again; {path} is "
                         f"that of another:\n{_differences(got, header)}\n"
                         "  hint: give each sweep a file of its own")  # fmt: skip


def _differences(got: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Say what differs between two headers, a line for each."""
    lines = []
    for name in expected:
        theirs, ours = got.get(name), expected[name]
        if theirs == ours:
            continue
        if name == "hyperparameters" and isinstance(theirs, dict) and set(theirs) == set(ours):
            differ = ", ".join(each for each in ours if theirs[each] != ours[each])
            # Two dicts are equal in any order, and so are two sweeps.
            lines.append(f"  its trials have other values of {differ}")
        elif name == "hyperparameters":
            lines.append(f"  its hyperparameters are {', '.join(theirs or ())}, and not {', '.join(ours)}")
        else:
            lines.append(f"  its {name} is {theirs}, and not {ours}".replace("its jaxnn ledger", "its format"))
    return "\n".join(lines)


def _digest(column: Column) -> str:
    """Return a short word for the values of all trials."""
    values = column.tolist() if isinstance(column, np.ndarray) else [_described(value) for value in column]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _described(value: Any) -> str:
    """Say what a value is in words that are the same in the next process: no addresses, nor what a function holds."""
    if isinstance(value, type | types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _short(line: bytes) -> str:
    text = line.decode(errors="replace")
    return repr(text if len(text) <= 40 else text[:37] + "...")
