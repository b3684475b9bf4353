"""Everything public is documented by an example, tested by a row, and found at one place."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import cases
import pytest

import jaxnn as nn
from jaxnn.ops import Op

FOLDERS = (
    *("ops", "layers", "initializers", "metrics", "optim", "schedules"),
    *("training", "models", "data", "search", "ensembles"),
)
PACKAGES = ["jaxnn", *(f"jaxnn.{name}" for name in FOLDERS)]
MODULES = [f"jaxnn.{name}" for name in ("losses", "tree", "plot")]


def exports():
    for path in [*PACKAGES, *MODULES]:
        module = importlib.import_module(path)
        for name in module.__all__:
            yield f"{path}.{name}", getattr(module, name)


EXPORTS = {
    name: value
    for name, value in exports()
    if inspect.isfunction(value) or inspect.isclass(value) or isinstance(value, Op)
}
# Values and types without behaviour of their own; their module and attributes say what they are.
BARE = {"Optimizer", "LayerLike", "Info", "Trainer", "Serial", "Parallel", "Residual", "Repeat", "EachStep",
        "OnWeights", "Remat", "InPrecision", "Observed", "Bidirectional", "OpLayer", "Constant", "Normal",
        "VarianceScaling", "zeros", "ones", "ShapeError", "ApplyEvery", "BacktrackingLinesearchInfo",
        "ZoomLinesearchInfo", "WeightDecaySchedule"}  # fmt: skip


def explains_itself(name):
    """States are met in the examples of what they are states of, and what is optax's is documented there."""
    last = name.rpartition(".")[2]
    return last in BARE or last.endswith("State") or EXPORTS[name].__module__.startswith("optax")


@pytest.mark.parametrize("name", EXPORTS)
def test_export_has_a_docstring(name):
    assert inspect.getdoc(EXPORTS[name])


@pytest.mark.parametrize("name", [name for name in EXPORTS if not explains_itself(name)])
def test_export_has_an_example(name):
    """That the examples run is what --doctest-modules checks."""
    assert ">>> " in EXPORTS[name].__doc__


def test_every_op_and_loss_has_a_row():
    # Metrics have no backward; tests/metrics is about them.
    ops = {value for name, value in EXPORTS.items() if isinstance(value, Op) and "metrics" not in name}
    rows = {case.op for case in [*cases.OPS, *cases.LOSSES]}
    assert {op.name for op in ops} == {op.name for op in rows}
    assert all(op.hand for op in ops)


def test_every_layer_has_a_row():
    def within(layer):
        return {type(layer), *(kind for child in layer.children.values() for kind in within(child))}

    rows = set().union(*(within(case.layer) for case in cases.LAYERS))
    shipped = {value for value in EXPORTS.values() if isinstance(value, type) and issubclass(value, nn.Layer)}
    final = {kind for kind in shipped if not inspect.isabstract(kind)} - {nn.layers.OpLayer}  # it has no op of its own
    assert final <= rows
    assert all(case.layer.hand for case in cases.LAYERS if case.hand)


def test_optimizers_and_initialisers_have_rows():
    tests = Path(__file__).parent
    of_optimizers = "".join(file.read_text() for file in sorted((tests / "optim").rglob("*.py")))
    of_initialisers = (tests / "initializers" / "test_initializers.py").read_text()
    for name, value in vars(nn.optim).items():
        if name in nn.optim.__all__ and inspect.isfunction(value) and value.__module__.startswith("jaxnn"):
            assert re.search(rf"\b{name}\b", of_optimizers), name
    for name, value in vars(nn.initializers).items():
        if (
            name in nn.initializers.__all__
            and inspect.isfunction(value)
            and value.__module__ != "jaxnn.initializers._gain"
        ):
            assert re.search(rf"\b{name}\b", of_initialisers), name


def test_modules_of_the_package_have_docstrings():
    for module in pkgutil.walk_packages(nn.__path__, "jaxnn."):
        assert importlib.import_module(module.name).__doc__, module.name


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_complete(package):
    module = importlib.import_module(package)
    public = {name for name in dir(module) if not name.startswith("_")}
    assert set(module.__all__) == public


def test_imports_run_one_way():
    """ops -> layers -> gradients -> training, as a reader of one may skip what comes after."""
    order = ["ops", "layers", "gradients", "training"]
    root = Path(nn.__file__).parent
    for i, name in enumerate(order):
        files = [root / f"{name}.py"] if (root / f"{name}.py").exists() else list((root / name).glob("*.py"))
        for file in files:
            for later in order[i + 1 :]:
                assert not re.search(rf"^(from|import) jaxnn\.{later}\b", file.read_text(), re.M), (file, later)


# JAX's derivatives, and what gives them to an op that has no backward.
DIFFERENTIATE = {"grad", "vjp", "jvp", "value_and_grad", "linearize", "jacfwd", "jacrev", "hessian", "linear_transpose",
                 "pullback", "pull"}  # fmt: skip


def asked_of_jax(source: str) -> set[str]:
    """Which of these a program uses, as an attribute or by name; what a docstring says is not use."""
    used = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        if isinstance(node, ast.ImportFrom):
            used |= {name.name for name in node.names}
    return used & DIFFERENTIATE


def test_ops_and_losses_never_ask_jax_to_differentiate():
    root = Path(nn.__file__).parent
    files = {*(root / "ops").rglob("*.py"), *(root / "losses").rglob("*.py"), *root.glob("losses.py")}
    # Where the fallback of ops without a backward stands; and forward mode, of ops with a rule.
    files -= {root / "ops" / "_op.py", root / "ops" / "_rule.py"}
    assert len(files) > 10
    for file in files:
        assert not asked_of_jax(file.read_text()), file


def test_what_asks_jax_to_differentiate_is_found():
    assert asked_of_jax("import jax\ndef f_bwd(x, dy):\n    return jax.vjp(f, x)[1](dy)") == {"vjp"}
    assert asked_of_jax("from jax import grad as slope") == {"grad"}
    assert asked_of_jax("import jax as j\nslope = j.grad(f)") == {"grad"}
    assert asked_of_jax("from jaxnn.ops._op import pullback") == {"pullback"}
    assert asked_of_jax('"""Not jax.jvp."""') == set()


def test_import_changes_no_setting_of_jax():
    """No flag, no configuration, no device is touched by `import jaxnn`."""
    program = (
        "import jax; before = dict(jax.config.values); import jaxnn, pkgutil, importlib; "
        "[importlib.import_module(module.name) for module in pkgutil.walk_packages(jaxnn.__path__, 'jaxnn.')]; "
        "assert dict(jax.config.values) == before; "
        "from jax._src import xla_bridge; assert not xla_bridge._backends, 'a backend was started'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
