"""The tables of `docs/optimizers.md` are true: names, states, defaults, and a test behind each "equal"."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import optimizer_rows
import pytest

from jaxnn import optim, schedules

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "optimizers.md").read_text()
MATRIX, VECTOR = (5, 7), (7,)


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def tables(text):
    """Rows under each heading of columns, as dicts."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        head, _, *rows = block.splitlines()
        found += [dict(zip(cells(head), cells(row), strict=True)) for row in rows]
    return found


ROWS = tables(DOCUMENT)
NAMED = {row["name"].strip("`"): row for row in ROWS if "name" in row}
OPTIMIZERS = {name: row for name, row in NAMED.items() if "state per parameter" in row}
SCHEDULES = {name: row for name, row in NAMED.items() if "agreement" in row}
PIECES = {name: row for name, row in NAMED.items() if "whose" in row}
SETTINGS = [row for row in ROWS if "ours" in row]
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def functions(module):
    return {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}


def in_optax(name):
    """In that order, for optax warns where it is asked at the top for what has moved."""
    return any(hasattr(library, name) for library in (optax.contrib, optax.transforms, optax.tree, optax))


# Names.


def test_each_name_has_one_row():
    assert len(NAMED) == sum("name" in row for row in ROWS)
    assert set(SCHEDULES) == functions(schedules) == set(schedules.__all__)
    assert functions(optim) <= {*OPTIMIZERS, *PIECES}
    assert {*OPTIMIZERS, *PIECES} <= set(optim.__all__)


def test_all_that_is_spoken_of_is_there():
    """Names of pieces and schedules wherever they stand, and what the list of differences is about."""
    ours = {*optim.__all__, *schedules.__all__}
    spoken = set(re.findall(r"`(scale_by_\w+|\w+_schedule)(?=[`(])", DOCUMENT))
    (differences,) = re.findall(r"^## Where we differ.*?(?=^## )", DOCUMENT, re.M | re.S)
    heads = re.findall(r"^- (`.*?):", differences, re.M)
    assert len(heads) > 15
    spoken |= {name for head in heads for name in re.findall(r"`(\w+)", head)}
    assert spoken - ours == set()


@pytest.mark.parametrize("name", PIECES)
def test_what_is_said_to_be_of_optax_is(name):
    value, whose = getattr(optim, name), PIECES[name]["whose"]
    assert whose.startswith("optax's") == value.__module__.startswith("optax")
    assert whose.startswith(("optax's", "ours"))
    assert ("optax has none" in whose) != in_optax(name)


# States.


def built(name):
    """The optimizer with its defaults, and something for what has none."""
    plain = optim.sgd(0.1)
    given = {
        "direction": optim.identity(), "optimizer": plain, "adv_optimizer": plain, "base_optimizer": plain,
        "fast_optimizer": plain, "learning_rate": 0.1, "hyper_learning_rate": 0.01, "l2_norm_clip": 1.0,
        "noise_multiplier": 1.0, "seed": 0, "sync_period": 2, "slow_step_size": 0.5,
    }  # fmt: skip
    make = getattr(optim, name)
    arguments = inspect.signature(make).parameters.values()
    return make(**{a.name: given[a.name] for a in arguments if a.default is inspect.Parameter.empty})


def numbers_per_parameter(optimizer, shape):
    """Leaves of the state that are like the parameters; one that has a memory of m steps is m of them."""
    leaves = jax.tree.leaves(jax.eval_shape(optimizer.init, jax.ShapeDtypeStruct(shape, jnp.float32)))
    like = [leaf.shape for leaf in leaves if leaf.shape[-len(shape) :] == shape]
    return sum(s[0] if len(s) > len(shape) else 1 for s in like)


def said_of_the_state(name):
    """The numbers that the table says, of a matrix and of a vector."""
    text = OPTIMIZERS[name]["state per parameter"]
    first = re.match(r"\d+", text)
    assert first, text
    vector = re.search(r"(\d+) for a vector", text)
    return int(first[0]), int(vector[1] if vector else first[0])


@each_optimizer
def test_the_state_is_as_large_as_the_table_says(name):
    optimizer = built(name)
    assert said_of_the_state(name) == tuple(numbers_per_parameter(optimizer, shape) for shape in (MATRIX, VECTOR))


@each_optimizer
def test_the_table_names_as_many_numbers_as_it_says(name):
    """After a colon, and with a comma between them."""
    number, _, names = OPTIMIZERS[name]["state per parameter"].partition(":")
    if number.isdigit() and name != "lbfgs":  # which has several of some
        kept = [part for part in re.split(r", (?!and )", re.split(r" \(|, and |; ", names)[0]) if part.strip()]
        assert len(kept) == int(number), kept


@pytest.mark.parametrize(
    ("optimizer", "numbers"),
    [
        (optim.sgd(0.1, momentum=0.9), 1),
        (optim.dpsgd(0.1, 1.0, 1.0, 0, momentum=0.9), 1),
        (optim.rmsprop(0.1, centered=True), 2),
        (optim.rmsprop(0.1, momentum=0.9), 2),
        (optim.adafactor(momentum=0.9), 2),
        (optim.sam(optim.sgd(0.1), optim.sgd(0.1), opaque_mode=True), 0),
    ],
    ids=["sgd", "dpsgd", "rmsprop_centered", "rmsprop_momentum", "adafactor", "sam"],
)
def test_options_take_the_state_that_the_table_says(optimizer, numbers):
    assert numbers_per_parameter(optimizer, MATRIX) == numbers


def test_large_matrices_take_the_state_that_the_table_says():
    shapes = lambda optimizer, p: [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(optimizer.init, p))]
    p = jax.ShapeDtypeStruct((128, 130), jnp.float32)
    assert {(128,), (130,)} < set(shapes(optim.adafactor(0.1), p))
    assert (128, 130) not in shapes(optim.adafactor(0.1), p)
    m, n, r = 6, 40, 3
    kept = shapes(optim.galore(0.1, rank=r), jax.ShapeDtypeStruct((m, n), jnp.float32))
    assert sum(s[0] * s[1] for s in kept if len(s) == 2) == 2 * m * r + n * r


# Agreement: a test stands behind each "equal".

OTHER_TESTS = {
    ("optax", "noisy_sgd"): "optim/test_signs.py::test_noisy_sgd_is_that_of_optax",
    ("optax", "dpsgd"): "optim/test_differential_privacy.py::test_descent_is_that_of_optax",
    ("optax", "sophia"): "optim/test_sophia.py::test_it_takes_the_path_of_optax",
    ("optax", "lbfgs"): "optim/test_line_search.py::test_lbfgs_equals_optax_step_for_step",
    ("optax", "lookahead"): "optim/test_lookahead.py::test_it_equals_optax_step_for_step",
    ("optax", "sam"): "optim/test_sam.py::test_it_takes_the_path_of_optax",
    ("Keras", "adafactor"): (
        "optim/test_layerwise.py::test_adafactor_of_keras_is_this_one_with_its_rate_and_factored_matrices"
    ),
    ("PyTorch", "sgd"): "optim/test_averaging.py::test_they_are_the_averaged_model_of_pytorch",
    ("PyTorch", "rprop"): "optim/test_signs.py::test_rprop_is_that_of_torch",
    ("PyTorch", "adagrad"): (
        "optim/test_worked_numbers.py::test_E_33_adagrad_from_0_is_that_of_torch_but_for_where_eps_is"
    ),
    ("PyTorch", "rmsprop"): "optim/test_worked_numbers.py::test_E_33_rmsprop_with_eps_outside_is_that_of_torch",
    ("PyTorch", "adadelta"): "optim/test_signs.py::test_adadelta_without_a_rate_is_that_of_torch",
    ("PyTorch", "adamax"): "optim/test_moments.py::test_adamax_is_that_of_torch",
    ("PyTorch", "radam"): "optim/test_moments.py::test_radam_is_that_of_torch_but_for_where_eps_is",
    **{
        ("Keras", name): "test_oracles_of_keras.py::test_the_path_is_that_of_keras"
        for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "lion", "adam", "adamw", "adamax")
    },
    **{
        ("PyTorch", name): "optim/test_worked_numbers.py::test_the_path_is_that_of_torch"
        for name in ("momentum", "nesterov", "adam", "adamw")
    },
    ("PyTorch", "lbfgs"): "optim/test_line_search.py::test_lbfgs_of_one_parameter_without_a_search_is_that_of_torch",
}
OF_TORCH = {"CyclicLR", "StepLR", "ExponentialLR", "LinearLR", "PolynomialLR", "CosineAnnealingWarmRestarts"}


def rows_of_the_contract():
    for module in pkgutil.iter_modules(optimizer_rows.__path__):
        for value in vars(importlib.import_module(f"optimizer_rows.{module.name}")).values():
            if isinstance(value, list):
                yield from (row.name for row in value if isinstance(row, optimizer_rows.Row))


COMPARED = set(rows_of_the_contract())


@pytest.mark.parametrize("library", ["optax", "Keras", "PyTorch"])
@each_optimizer
def test_what_is_said_to_be_equal_is_compared(name, library):
    said = OPTIMIZERS[name][library]
    assert re.match(r"(equal|same rule|differs|not compared|-$)", said), said
    row = library == "optax" and any(row == name or row.startswith(f"{name}_") for row in COMPARED)
    test = OTHER_TESTS.get((library, name))
    if said.startswith("equal"):
        assert row or test
    else:
        assert not test
    if test:
        file, function = test.split("::")
        assert re.search(rf"^def {function}\(", (TESTS / file).read_text(), re.M)


@each_optimizer
def test_what_optax_is_said_not_to_have_it_has_not(name):
    there = in_optax(name)
    assert there or OPTIMIZERS[name]["optax"] == "-" or OPTIMIZERS[name]["optax"].startswith("equal to `")
    assert not (there and OPTIMIZERS[name]["optax"] == "-")


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_said_to_be_equal_where_there_is_a_peer(name):
    said, compared = SCHEDULES[name]["agreement"], (TESTS / "schedules" / "test_schedules.py").read_text()
    assert said.startswith("equal to optax's") == hasattr(optax.schedules, name)
    assert said.startswith("optax has none") != hasattr(optax.schedules, name)
    for theirs in set(re.findall(r"`(\w+LR|CosineAnnealingWarmRestarts)`", said)):
        assert theirs in OF_TORCH
        assert re.search(rf"of\.{theirs}\(", compared)


# Defaults.


def calls(text):
    """Calls with settings, as (name, {argument: value}); values as they are written."""
    found = []
    for name, inner in re.findall(r"`(\w+)\(([^`]*)\)`", text):
        settings = re.findall(r"(\w+)=(\([^)]*\)|[^,()]+)", inner)
        found.append((name, {argument: eval(value) for argument, value in settings}))
    return found


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row["ours"])
def test_our_defaults_are_those_of_the_signatures(row):
    (call,) = calls(row["ours"])
    name, settings = call
    arguments = inspect.signature(getattr(optim, name)).parameters
    assert settings
    assert settings == {argument: arguments[argument].default for argument in settings}


@pytest.mark.oracle
@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row["ours"])
def test_the_defaults_of_torch_are_those_of_its_signatures(row):
    torch = pytest.importorskip("torch")
    off = {"amsgrad": True}  # it says which of Adam's kin is meant
    for name, settings in calls(row["PyTorch"]):
        where = next(
            module for module in (torch.optim, torch.optim.lr_scheduler, torch.optim.swa_utils) if hasattr(module, name)
        )
        arguments = inspect.signature(getattr(where, name)).parameters
        for argument, value in settings.items():
            assert off.get(argument) == value or arguments[argument].default == value, (name, argument)


@pytest.mark.oracle
def test_what_torch_is_said_not_to_have_it_has_not():
    torch = pytest.importorskip("torch")
    theirs = {name.lower() for name in dir(torch.optim) if name[0].isupper()}
    assert {"adam", "muon", "lbfgs"} < theirs & set(OPTIMIZERS)
    assert [name for name in theirs & set(OPTIMIZERS) if OPTIMIZERS[name]["PyTorch"] == "-"] == []


# The code in it.


def test_code_in_it_runs():
    (code,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.M | re.S)
    names = {}
    exec(code, names)
    assert names["many"].shape == (5,)
    assert (jnp.diff(jnp.abs(names["many"][:3])) < 0).all()
    assert jnp.isfinite(names["slope"])
