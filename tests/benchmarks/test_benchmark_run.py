"""The harness over all benchmarks: what it measures, keeps and asks for. Nothing is timed here."""

import copy
import json
import re
from pathlib import Path

import pytest

from benchmarks import _chart, _race, _report, _results, _targets, _timing, readme, run
from benchmarks._workload import Contestant

MACHINE = {
    "device": "cpu: cpu",
    "cores": 2,
    "processor": "a processor",
    "system": "a system",
    "python": "3.11.7",
    "versions": {"jax": "0.10.2", "torch": "not installed"},
    "XLA_FLAGS": "",
}


def contestant(*microseconds, memory=None):
    program = {"trace": None, "compile": None, "memory": memory}
    return {"microseconds": list(microseconds), "first call in seconds": 1.0, "program": program, "last loss": 0.5}


CNN = {
    "workload": "cnn: of images",
    "part": "step",
    "contestants": {
        "jaxnn by_autodiff": contestant(10.0, 20.0, memory=2**20),
        "jaxnn by_hand": contestant(11.0, 22.0, memory=2**21),
        "flax, one scan": contestant(400.0),
        "flax, rows in jit": contestant(60.0, 120.0, memory=2**22),
        "flax, as its examples": contestant(50.0, 90.0),
        "PyTorch": contestant(15.0, 20.0),
        "PyTorch, channels_last": contestant(12.0, 24.0),
    },
    "limit": {"microseconds": [8.0, 10.0]},
    "left out": {"equinox": "No module named 'equinox'"},
}
OPTIMIZER = {
    "workload": "large: Adam",
    "microseconds": {"ours": [30.0, 30.0], "optax": [60.0, 45.0]},
    "programs": {"ours": {"memory": 2**20}},
    "limit": {"microseconds": [30.0, 30.0]},
    "left out": {"PyTorch, fused": "No module named 'torch'"},
}
CONVOLUTION = {
    "workload": "wide: of images",
    "microseconds": {
        **{which: {"ours": [1.0, 2.0], "XLA": [4.0]} for which in ("forward", "by x", "by w")},
        "sweep": {"ours, vmapped": [9.0], "ours, one after another": [9.0]},
    },
    "programs": {
        "forward": {"ours": {"memory": 5}},
        "by x": {"ours": {"memory": 7}},
        "by w": {"ours": {"memory": 6}},
    },
    "limit": {"microseconds": [0.5, 1.0]},
    "left out": {},
}


def entry(script, result, quick=False):
    about = {"script": f"benchmarks.{script}", "date": "2026-01-01T00:00:00+00:00", "rounds": 2, "quick": quick}
    return about | {"machine": copy.deepcopy(MACHINE), "result": result}


FOUND = {
    "cnn": entry("cnn", CNN),
    "optimizer-large": entry("optimizers", OPTIMIZER),
    "conv-wide": entry("conv_ops", CONVOLUTION),
}


def test_no_two_workloads_have_one_name_and_every_target_has_its_workload():
    names = [job.name for job in run.jobs()]
    assert len(set(names)) == len(names)
    wanted = {target.workload.partition(", ")[0] for target in _targets.TARGETS}  # a process may be cold or warm
    assert wanted | {*_targets.LIMITS, *_targets.SECONDS} <= {*names}


def test_every_script_is_run():
    scripts = {path.stem for path in Path(run.__file__).parent.glob("[!_]*.py")}
    assert scripts - {"run", "readme"} == {*_results.PREFIXES}


def test_targets_are_against_peers_that_there_are():
    for target in _targets.TARGETS:
        assert target.against in {*_targets.PEERS, *_targets.GROUPS, "PyTorch, fused", "flax, as its examples"}
    for members in _targets.GROUPS.values():
        assert set(members) <= set(_targets.PEERS)


JOBS = [run.Job("cnn", "cnn"), run.Job("cnn", "resnet"), run.Job("optimizers", "large"), run.Job("optimizers", "many")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["cnn", "resnet", "optimizer-large", "optimizer-many"]),
        (["cnn"], ["cnn"]),
        (["optimizer"], ["optimizer-large", "optimizer-many"]),
        (["optimizer-many", "optimizers", "resnet"], ["optimizer-many", "optimizer-large", "resnet"]),
    ],
)
def test_workloads_are_named_one_by_one_or_by_their_script(names, expected):
    assert [job.name for job in run.chosen(JOBS, names)] == expected


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"expected names of workloads .*; got nothing \(hint: cnn, optimizer, opt"):
        run.chosen(JOBS, ["cnn", "nothing"])


@pytest.fixture
def measured(monkeypatch):
    """What the scripts save, by workload, instead of processes; and with what they were asked."""
    asked = []
    saved = {
        "cnn": {"workloads": {"cnn": CNN}, "left out": {}},
        "resnet": None,
        "large": {"workloads": {"large": OPTIMIZER}, "left out": {}},
        "many": {"workloads": {}, "left out": {"many": "No module named 'x'"}},
    }

    def job_run(job, *, rounds, quick):
        asked.append((job.name, rounds, quick))
        what = saved[job.workload]
        return what and what | {"machine": MACHINE, "date": "2026-01-02T00:00:00+00:00", "rounds": 7, "quick": quick}

    monkeypatch.setattr(run, "jobs", lambda: JOBS)
    monkeypatch.setattr(run.Job, "run", job_run)
    return asked


def test_a_subset_replaces_its_own_entries_only(measured, tmp_path):
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps({"cnn": FOUND["cnn"], "optimizer-large": {**FOUND["optimizer-large"], "rounds": 99}}))
    run.main(["optimizer-large", "--rounds", "7", "--results", str(path)])
    assert measured == [("optimizer-large", 7, False)]
    kept = json.loads(path.read_text())
    assert kept["cnn"] == FOUND["cnn"]
    assert (kept["optimizer-large"]["rounds"], kept["optimizer-large"]["date"][:10]) == (7, "2026-01-02")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cpu.json", "cpu.png"]


def test_results_go_to_the_device_s_own_file_but_not_if_they_are_quick_or_not_wanted(measured, tmp_path, monkeypatch):
    monkeypatch.setattr(_results, "FOLDER", tmp_path)
    run.main(["cnn", "--quick"])
    run.main(["cnn", "--no-save"])
    assert not list(tmp_path.iterdir())
    run.main(["cnn"])
    assert set(json.loads((tmp_path / "cpu-2-cores.json").read_text())) == {"cnn"}


def test_quick_results_are_not_to_be_saved_elsewhere_either(measured, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run.main(["cnn", "--quick", "--results", str(tmp_path / "cpu.json")])
    assert "expected no --results with --quick, because a tiny size says nothing about speed" in capsys.readouterr().err
    assert not measured


def test_what_fails_or_is_left_out_is_said_and_the_others_are_measured_all_the_same(measured, capsys):
    with pytest.raises(SystemExit) as error:
        run.main(["--no-save"])
    assert error.value.code == 1
    out = capsys.readouterr().out
    assert [name for name, *_ in measured] == ["cnn", "resnet", "optimizer-large", "optimizer-many"]
    assert out.endswith("failed: resnet\nleft out: optimizer-many, because No module named 'x'\n")
    assert "\noptimizer-large" in out


def test_a_job_is_a_process_that_saves(monkeypatch):
    def process(command, **_):
        script, workload, path, *rest = command[2], command[4], command[6], *command[7:]
        assert (script, workload, rest) == ("benchmarks.optimizers", "large", ["--quick", "--rounds", "3"])
        Path(path).write_text('{"workloads": {}}')
        return type("Done", (), {"returncode": returncode})

    monkeypatch.setattr(run.subprocess, "run", process)
    returncode = 0
    assert run.Job("optimizers", "large").run(rounds=3, quick=True) == {"workloads": {}}
    returncode = 1
    assert run.Job("optimizers", "large").run(rounds=3, quick=True) is None


def test_contestants_of_every_kind_of_result_are_read_alike():
    assert _results.contestants(CNN)["jaxnn by_hand"] == _results.Seen([11.0, 22.0], 2**21)
    assert _results.contestants(OPTIMIZER) == {
        "ours": _results.Seen([30.0, 30.0], 2**20),
        "optax": _results.Seen([60.0, 45.0]),
    }
    assert _results.contestants(CONVOLUTION) == {"ours": _results.Seen([3.0, 6.0], 7), "XLA": _results.Seen([12.0])}
    assert _results.limit(CONVOLUTION) == [1.5, 3.0]
    assert _results.limit(OPTIMIZER) == [30.0, 30.0]


def test_neither_tiny_sizes_nor_what_a_script_saved_by_itself_are_told(tmp_path):
    alone = {"machine": MACHINE, "rounds": 3, "quick": False, "workloads": {"large": OPTIMIZER}}
    (tmp_path / "optimizers-my-machine.json").write_text(json.dumps(alone))
    found = {name: FOUND[name] for name in ("optimizer-large", "cnn")} | {"resnet": entry("cnn", CNN, quick=True)}
    (tmp_path / "cpu-2-cores.json").write_text(json.dumps(found))
    assert {device: list(found) for device, found in _results.everything(tmp_path).items()} == {
        "cpu-2-cores": ["cnn", "optimizer-large"]
    }


WAITING = {
    "workload": "until something",
    "contestants": {
        "jaxnn by_autodiff": {"seconds": {"cold": [3.0, 3.0], "warm": [1.0, 1.0]}},
        "flax": {"seconds": {"cold": [6.0, 3.3], "warm": [2.0, 2.0]}},
        "PyTorch": {"seconds": {"cold": [0.5, 0.5], "warm": [0.5, 0.5]}},
    },
    "left out": {},
}
IMPORT = {
    "workload": "import",
    "contestants": {
        "jaxnn": {"seconds": {"import": [0.1, 0.18]}},
        "jax": {"seconds": {"import": [0.0, 0.0]}},
        "optax, flax.linen": {"seconds": {"import": [0.6, 0.8]}},
    },
    "left out": {},
}


def test_what_processes_take_is_told_for_cold_and_warm_ones():
    entries = {"first-epoch-cnn": entry("waiting", WAITING), "import": entry("waiting", IMPORT)}
    seen = _results.views(entries)
    assert _results.views(seen) == seen
    assert {view: list(each["result"]["contestants"]) for view, each in seen.items()} == {
        "first-epoch-cnn, cold": ["jaxnn by_autodiff", "flax", "PyTorch"],
        "first-epoch-cnn, warm": ["jaxnn by_autodiff", "flax", "PyTorch"],
        "import": ["jaxnn", "optax, flax.linen"],
    }
    assert {view: judged(view, each["result"]) for view, each in seen.items()} == {
        "first-epoch-cnn, cold": {"every JAX peer / ours >= 1": ("flax", "yes")},
        "first-epoch-cnn, warm": {"PyTorch / ours >= 1": ("PyTorch", "no")},
        "import": {"flax / ours >= 1": ("optax, flax.linen", "yes"), "seconds <= 0.15": ("jaxnn", "yes")},
    }
    assert re.search(r"PyTorch +500 ms +0.17 \(0.17 .. 0.17\)", _report.table(entries))


def judged(workload, result):
    return {verdict.asked: (verdict.row, verdict.answer) for verdict in _report.verdicts(workload, result)}


def test_targets_are_held_against_the_fastest_form_of_a_peer():
    assert judged("cnn", CNN) == {
        "flax / ours >= 4.5": ("flax, as its examples", "yes"),  # 5 and 4.5
        # 1.2 and 1.2, where the other form has 1.5 and 1, though its times have the smaller median; 12 / 11 and 24 / 22
        "PyTorch / ours >= 1.4": ("PyTorch, channels_last", "no; by hand 1.09, no"),
        "ours / limit <= 1.6": ("limit", "no; by hand 1.79, no"),  # 1.25 and 2
        "by hand / by autodiff <= 1.05": ("jaxnn by_hand", "no"),
        "in memory <= 1": ("jaxnn by_hand", "no"),
    }
    assert judged("optimizer-large", OPTIMIZER) == {
        "PyTorch, fused / ours >= 1": (None, "not measured"),
        "optax / ours >= 1.4": ("optax", "yes"),  # 2 and 1.5
        "ours / limit <= 1.1": ("limit", "yes"),
    }


def test_a_target_that_the_hand_s_road_alone_reaches_says_so():
    faster = copy.deepcopy(CNN)
    faster["contestants"]["jaxnn by_hand"] = contestant(9.0, 12.0, memory=2**20)
    assert judged("cnn", faster)["PyTorch / ours >= 1.4"] == ("PyTorch, channels_last", "no; by hand 1.67, yes")
    assert judged("cnn", faster)["in memory <= 1"] == ("jaxnn by_hand", "yes")


def test_an_expert_s_form_is_no_peer():
    expert = {**CNN, "contestants": {"ours": contestant(1.0), "flax, one scan": contestant(1.0)}}
    assert {row for row, _ in judged("cnn", expert).values()} == {None, "limit"}


def test_the_table_has_a_row_for_each_contestant_and_says_who_is_missing():
    lines = _report.table({name: FOUND[name] for name in ("cnn", "optimizer-large")}).splitlines()
    cells = [re.split(r" {2,}", line.strip()) for line in lines]
    assert cells[0] == ["time", "over ours", "memory, MiB", "over ours", "to reach", "reached"]
    assert ["jaxnn by_autodiff", "15.0 us", "1.00"] in cells
    assert ["flax, rows in jit", "90.0 us", "6.00 (6.00 .. 6.00)", "4.00", "4.00"] in cells
    assert ["flax, as its examples", "70.0 us", "4.75 (4.50 .. 5.00)", "-", "flax / ours >= 4.5", "yes"] in cells
    assert ["optax", "52.5 us", "1.75 (1.50 .. 2.00)", "-", "optax / ours >= 1.4", "yes"] in cells
    assert lines[-3:] == [
        "cnn: left out: equinox, because No module named 'equinox'",
        "optimizer-large: left out: PyTorch, fused, because No module named 'torch'",
        "optimizer-large: not measured, to reach PyTorch, fused / ours >= 1",
    ]


def test_what_has_no_contestants_is_in_its_own_table():
    assert _report.table({"hand-relu": entry("hand_vs_autodiff", {"ops": {}})}).splitlines()[1:] == [
        "hand-relu: in its script's own table"
    ]


def test_who_is_left_out_of_a_race_is_kept_and_said(monkeypatch):
    probe = lambda *, quick: _timing.Probe(lambda: None, 1.0)
    monkeypatch.setattr(_timing, "matrix_product", probe)
    monkeypatch.setattr(_timing, "streaming", probe)
    entered = {"ours": Contestant(lambda: 0.5, parts=2)}
    missing = {"a peer": "No module named 'x'"}
    result = _race.race("a race", entered, 1, 1, part="step", left_out=missing, rounds=1, quick=True)
    assert result["left out"] == missing
    assert _race.table(result).splitlines()[-1] == "left out: a peer, because No module named 'x'"


def test_the_readme_says_what_was_measured():
    """Written by `python -m benchmarks.readme`; what was measured since is to be written there too."""
    page = readme.README.read_text()
    assert readme.put(page, readme.current()) == page


def test_the_readme_would_be_another_if_what_was_measured_were():
    text = readme.section({"cpu-2-cores": FOUND})
    assert "| [`cnn`](benchmarks/cnn.py) | 2 | 15.0 us a step | 1.10 |" in text
    assert "a processor, 2 cores, a system, Python 3.11.7; jax 0.10.2: all" in text
    assert "| `cnn` | 1.00 | 2.00 |" in text  # memory
    assert "0 of 1, not `cnn` 1.10" in text
    assert "conv-wide" not in text  # details
    for name in (
        "jaxnn by_autodiff",
        "jaxnn by_hand",
        "flax, one scan",
        "flax, as its examples",
        "PyTorch, channels_last",
    ):
        slower = copy.deepcopy(FOUND)
        seen = slower["cnn"]["result"]["contestants"][name]
        seen["microseconds"] = [1.1 * each for each in seen["microseconds"]]
        assert readme.section({"cpu-2-cores": slower}) != text, name


def test_two_environments_are_told_apart():
    other = copy.deepcopy(FOUND)
    other["cnn"]["machine"]["versions"]["jax"] = "0.12.0"
    about = readme.conditions({name: other[name] for name in ("cnn", "optimizer-large")})
    assert [line.partition("; ")[2] for line in about] == ["jax 0.12.0: `cnn`", "jax 0.10.2: `optimizer-large`"]


def test_a_page_without_its_comments_is_refused():
    with pytest.raises(ValueError, match=r"once each, because the text goes between them"):
        readme.put("a page", "a text")


def test_the_picture_shows_the_fastest_form_of_each_peer():
    assert _chart.peers(CNN) == {
        "by_hand": [1.1, 1.1],
        "flax": [5.0, 4.5],
        "flax, one scan": [40.0],
        "PyTorch": [1.2, 1.2],
    }
    assert set(_chart.STYLES) <= set(_targets.PEERS)
