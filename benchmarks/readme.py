"""What does the README say about speed? Writes it there, between two comments, from `results/`.

python -m benchmarks.readme
"""

import argparse
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import _report, _results, _targets, _timing
from benchmarks._report import Verdict
from benchmarks._results import Entries

README = Path(__file__).parents[1] / "README.md"

BEGIN = "<!-- speed: what follows is written by `python -m benchmarks.readme` -->"
END = "<!-- speed: end -->"

ABOUT = """\
How many times as long as jaxnn everyone takes, in float32: less than 1 is faster than jaxnn. Medians of the ratios of
alternating calls; training is whole runs, with all that belongs to them: drawing parameters (Keras takes what it has
drawn before), shuffling, taking batches. A peer with several forms, such as PyTorch in one thread and in all, or in
either memory format, counts with its fastest; `flax, one scan` is a whole run in one program, and no peer's own form.
Ours are what `fit` and `jax.grad` do by default, and `by_hand` is the other road; the cross-entropies, which are
`linear_cross_entropy`, are not what a model has by default. Of a sweep jaxnn's runs go on two devices, one a core, and
the peers' one after another. The limit is the products at the rate of a large matrix product and the memory at that of
main memory, both measured in the same round; a convolution's multiplications count as it is defined, though Winograd's
form has fewer."""

MEMORY = """\
Peak memory in MiB beside what is passed in. In training, of jaxnn and `flax, one scan` that of a whole run, of PyTorch
that of a few steps, of the others that of one; of a sweep or an ensemble, jaxnn's is that of all members in one
program, and a peer's that of one; else it is that of a call."""


def section(found: Mapping[str, Entries], pictures: Iterable[str] = ()) -> str:
    """Return what the README says.

    Args:
        found: Results by device.
        pictures: The devices of which there is one.
    """
    parts = [ABOUT]
    for device, entries in found.items():
        shown = _report.headline(entries)
        parts.append(f"On `{device}` (`benchmarks/results/{device}.json`; `python -m benchmarks.run`):")
        parts.append("\n".join(f"- {line}" for line in conditions(shown)))
        parts += [times(shown), *pictured(device, pictures), asked(shown), roads(shown), MEMORY, memory(shown)]
    return "\n\n".join(part for part in parts if part)


def conditions(found: Entries) -> list[str]:
    """Return on what machine and with which versions what was measured."""
    of: dict[str, list[str]] = {}
    for name, entry in found.items():
        machine = entry["machine"]
        versions = [f"{package} {number}" for package, number in machine["versions"].items() if number[0].isdigit()]
        flags = f"; XLA_FLAGS={machine['XLA_FLAGS']}" if machine["XLA_FLAGS"] else ""
        about = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
        of.setdefault(f"{about}; {', '.join(versions)}{flags}", []).append(f"`{name}`")
    return [f"{about}: {', '.join(names) if len(of) > 1 else 'all'}" for about, names in of.items()]


def times(found: Entries) -> str:
    """Return the table of times over ours."""
    columns = [peer for peer in _targets.PEERS if any(peer in over(entry) for entry in found.values())]
    rows: list[Sequence[str]] = [("time over ours", "rounds", "ours", *heads(columns), "limit")]
    for name, entry in found.items():
        result, ratios = entry["result"], over(entry)
        ours, *_ = _results.contestants(result).values()
        limit, part = _results.limit(result), result.get("part")
        cells = [_report.digits(ratios[peer]) if peer in ratios else "-" for peer in columns]
        above = None if limit is None else statistics.median(_timing.ratios(ours.microseconds, limit))
        cells.append("-" if above is None else f"1 / {_report.digits(above)}")
        taken = _report.time(ours.microseconds) + f" a {part}" * bool(part)
        rows.append((linked(name, entry), str(entry["rounds"]), taken, *cells))
    return markdown(rows)


def heads(columns: Sequence[str]) -> list[str]:
    """Return what stands above the columns of peers."""
    return [f"`{peer}`" if peer in ("by_hand", "torch.compile") else peer for peer in columns]


def over(entry: _results.Entry) -> dict[str, float]:
    """Return of every peer that was measured the median ratio of its time, in its fastest form, to ours."""
    seen = _results.contestants(entry["result"])
    ours, *_ = seen.values()
    fastest = {peer: _report.fastest(seen, peer) for peer in _targets.PEERS}
    return {
        peer: statistics.median(_timing.ratios(seen[name].microseconds, ours.microseconds))
        for peer, name in fastest.items()
        if name is not None
    }


def pictured(device: str, pictures: Iterable[str]) -> list[str]:
    """Return the picture of a device, if there is one."""
    what = "Time over jaxnn's of every peer, with ranges and with what is to be reached"
    return [f"![{what}](benchmarks/results/{device}.png)"] if device in pictures else []


def asked(found: Entries) -> str:
    """Return the table of what is to be reached, but for the hand's road."""
    rows = [("to reach", "", "measured", "reached")]
    for verdict in verdicts(found):
        if verdict.row not in _targets.ROADS:
            measured = _report.ratio(verdict.ratios) if verdict.ratios else "-"
            rows.append((f"`{verdict.workload}`", verdict.asked, measured, verdict.answer))
    return markdown(rows)


def roads(found: Entries) -> str:
    """Return whether the hand's road costs no more than it may, in a sentence; nothing if none has both."""
    of_roads = [verdict for verdict in verdicts(found) if verdict.row in _targets.ROADS]
    clauses = []
    for wanted in dict.fromkeys(verdict.asked for verdict in of_roads):
        of = [verdict for verdict in of_roads if verdict.asked == wanted]
        missed = [f"`{each.workload}` {_report.digits(statistics.median(each.ratios))}" for each in of if not each.met]
        clauses.append(f"{wanted}: {len(of) - len(missed)} of {len(of)}{', not ' * bool(missed)}{', '.join(missed)}")
    return f"Of the two roads, {'; '.join(clauses)}." if clauses else ""


def verdicts(found: Entries) -> list[Verdict]:
    """Return what is asked of all workloads."""
    return [verdict for name, entry in found.items() for verdict in _report.verdicts(name, entry["result"])]


def memory(found: Entries) -> str:
    """Return the table of memory."""
    of = {name: held(entry) for name, entry in found.items()}
    columns = [peer for peer in ("ours", *_targets.PEERS) if any(peer in each for each in of.values())]
    rows: list[Sequence[str]] = [("memory, MiB", *heads(columns))]
    for name, each in of.items():
        if each:
            rows.append((f"`{name}`", *(_report.mebibytes(each.get(peer)) for peer in columns)))
    return markdown(rows)


def held(entry: _results.Entry) -> dict[str, float]:
    """Return the bytes that ours and every peer take, as far as they are known, of a peer those of its fastest form."""
    seen = _results.contestants(entry["result"])
    names = {"ours": next(iter(seen)), **{peer: _report.fastest(seen, peer) for peer in _targets.PEERS}}
    known = {peer: seen[name].memory for peer, name in names.items() if name is not None}
    return {peer: memory for peer, memory in known.items() if memory is not None}


def linked(name: str, entry: _results.Entry) -> str:
    """Return the name of a workload with a link to its script."""
    return f"[`{name}`]({entry['script'].replace('.', '/')}.py)"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, the first of whose rows are heads.

    >>> print(markdown([("a", "b"), ("1", "2")]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    line = lambda cells: f"| {' | '.join(cells)} |"
    head, *rest = rows
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rest)])


def put(page: str, text: str) -> str:
    r"""Return the page with the text between the two comments.

    Raises:
        ValueError: The page has not both of them, once.

    >>> page = f"above\n{BEGIN}\nold\n{END}\nbelow"
    >>> put(page, "new") == page.replace("old", "\nnew\n")
    True
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"expected {BEGIN!r} and {END!r}, once each, because the text goes between them; got others")
    return f"{page.partition(BEGIN)[0]}{BEGIN}\n\n{text}\n\n{END}{page.partition(END)[2]}"


def current() -> str:
    """Return what the README should say of the results that there are."""
    return section(_results.everything(), [path.stem for path in sorted(_results.FOLDER.glob("*.png"))])


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    README.write_text(put(README.read_text(), current()))
