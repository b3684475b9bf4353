"""The arithmetic of the benchmarks. No test asserts a time: clocks are replaced, or only compared with none."""

import json
import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks import _command, _timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `tick(seconds)` moves, and no rests."""
    now = [0.0]
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_timing.time, "sleep", lambda _: None)

    def tick(seconds):
        now[0] += seconds

    return tick


def test_contestants_take_turns_after_a_warm_up(clock):
    calls = []
    contestants = {name: lambda name=name: (calls.append(name), clock(2.0)) for name in "AB"}
    _timing.alternate(contestants, rounds=2)
    assert "".join(calls) == "ABABAB"


def test_brief_calls_are_preceded_by_others_that_do_not_count(clock):
    """After a rest the cores need a while; a call that is longer than that does not mind."""
    calls = []
    contestants = {
        name: lambda name=name, s=s: (calls.append(name), clock(s)) for name, s in {"A": 0.02, "B": 2.0}.items()
    }
    times = _timing.alternate(contestants, rounds=1)
    assert "".join(calls) == "AB" + "AAA" + "A" + "B"
    assert times["A"].rounds == (pytest.approx(0.02),)


def test_the_first_call_is_kept_apart(clock):
    durations = iter([8.0, 1.0, 2.0])
    times = _timing.alternate({"A": lambda: clock(next(durations))}, rounds=2)
    assert times == {"A": _timing.Times(8.0, (1.0, 2.0))}


def test_a_slow_contestant_rests_but_not_before_its_first_round(clock):
    times = _timing.alternate({"A": lambda: clock(3.0), "B": lambda: clock(1.0)}, rounds=4, patience=2.0)
    assert times == {"A": _timing.Times(3.0, (3.0,)), "B": _timing.Times(1.0, (1.0, 1.0))}


def test_ratios_are_of_the_rounds_that_both_were_in():
    assert _timing.ratios([2.0, 3.0, 8.0], [1.0, 2.0]) == [2.0, 1.5]


def test_spread_is_the_median_with_both_ends():
    assert _timing.spread([4.0, 1.0, 2.0]) == "2.0 (1.0 .. 4.0)"
    assert _timing.spread([1.0, 2.0], 2) == "1.50 (1.00 .. 2.00)"


def test_what_is_not_known_is_a_dash():
    assert (_timing.number(None), _timing.number(1.234)) == ("-", "1.23")


def test_columns_are_aligned_and_rows_may_end_early():
    lines = _timing.aligned([("", "us", "ratio"), ("ours", "12.0", "1.0"), ("limit", "7.0")]).splitlines()
    assert lines == ["         us  ratio", "ours   12.0    1.0", "limit   7.0"]


def test_the_limit_adds_arithmetic_and_memory_round_by_round():
    limit = _timing.limit(2e6, 1e6, product=[1e9, 2e9], stream=[1e9, 1e9])
    assert limit["microseconds of arithmetic"] == [2000.0, 1000.0]
    assert limit["microseconds"] == [3000.0, 2000.0]
    assert _timing.rates(limit) == "at 1.5 GFLOP/s and 1.0 GB/s"


def test_a_probe_tells_a_rate_for_every_round():
    assert _timing.Probe(lambda: None, 6.0).rates(_timing.Times(9.0, (2.0, 3.0))) == [3.0, 2.0]


def test_a_program_is_traced_and_compiled_anew_and_its_memory_is_known():
    traces = []

    @jax.jit
    def function(x):
        traces.append(None)
        return x + 1

    x = jnp.zeros(1000)
    function(x)
    program = _timing.program(function, x)
    assert len(traces) == 2
    assert program.trace is not None
    assert program.compile is not None
    assert program.memory is not None
    assert program.memory >= x.nbytes


def test_results_are_written_once(tmp_path):
    path = tmp_path / "new" / "results.json"
    _timing.save(path, {"a": [1.0]})
    assert json.loads(path.read_text()) == {"a": [1.0]}
    with pytest.raises(FileExistsError):
        _timing.save(path, {})


WORKLOADS = {"small": lambda quick: ("small", quick), "large": lambda quick: ("large", quick)}


def told(monkeypatch, *arguments, workloads=WORKLOADS, **settings):
    measured = []

    def measure(workload, *, rounds, quick):
        measured.append((*workload, rounds, quick))
        return {"seen": workload[0]}

    monkeypatch.setattr("sys.argv", ["x.py", *map(str, arguments)])
    _command.main("How fast?", workloads, measure, lambda result: f"table of {result['seen']}", rounds=9, **settings)
    return measured


def test_the_command_line_measures_all_workloads_or_those_it_names(monkeypatch):
    assert told(monkeypatch) == [("small", False, 9, False), ("large", False, 9, False)]
    assert told(monkeypatch, "--workload", "large", "--rounds", 3) == [("large", False, 3, False)]


def test_quick_is_tiny_and_takes_the_tiny_workloads_unless_others_are_named(monkeypatch):
    assert told(monkeypatch, "--quick", tiny=["small"]) == [("small", True, 2, True)]
    assert told(monkeypatch, "--quick", "--workload", "large", tiny=["small"]) == [("large", True, 2, True)]


def test_what_was_measured_and_printed_is_saved_with_the_machine(monkeypatch, tmp_path, capsys):
    path = tmp_path / "results.json"
    told(monkeypatch, "--json", path, summary=lambda results: f"summary of {len(results)}")
    results = json.loads(path.read_text())
    assert results["workloads"] == {"small": {"seen": "small"}, "large": {"seen": "large"}}
    assert results["tables"] == ["table of small", "table of large", "summary of 2"]
    assert {"device", "cores", "versions", "XLA_FLAGS"} <= set(results["machine"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", results["date"])
    assert capsys.readouterr().out.endswith("table of small\n\ntable of large\n\nsummary of 2\n")


def test_results_are_never_overwritten_and_this_is_said_before_anything_is_measured(monkeypatch, tmp_path, capsys):
    path = tmp_path / "results.json"
    path.touch()
    with pytest.raises(SystemExit):
        told(monkeypatch, "--json", path)
    assert "results are never overwritten" in capsys.readouterr().err


def test_a_workload_whose_package_is_missing_is_left_out(monkeypatch, tmp_path, capsys):
    def missing(quick):
        raise ImportError("No module named 'x'")

    path, workloads = tmp_path / "results.json", WORKLOADS | {"small": missing}
    assert told(monkeypatch, "--json", path, workloads=workloads) == [("large", False, 9, False)]
    assert json.loads(path.read_text())["left out"] == {"small": "No module named 'x'"}
    assert "left out: small, because No module named 'x'" in capsys.readouterr().out
