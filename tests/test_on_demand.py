"""What is imported when: nothing that was not asked for, everything in any order, and from within a trace."""

import subprocess
import sys

import pytest

import jaxnn as nn
from jaxnn._on_demand import on_demand


def process(program):
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return run.stdout.split()


def test_import_brings_nothing_that_is_not_asked_for():
    brought = process("import sys, jaxnn; print(*(name for name in sys.modules if name.startswith('jaxnn')))")
    assert set(brought) == {"jaxnn", "jaxnn._on_demand"}


def test_a_small_network_is_trained_without_what_it_does_not_need():
    """Nobody who trains a network waits for plots, progress bars, searches or other frameworks."""
    brought = process(
        "import sys, jax, jax.numpy as jnp, jaxnn as nn\n"
        "data = nn.Data(jnp.zeros((4, 3)), jnp.zeros(4, int))\n"
        "trainer = nn.trainer(nn.serial(nn.Dense(8), nn.relu, nn.Dense(10)), nn.losses.cross_entropy, nn.adam(1e-3))\n"
        "jax.eval_shape(lambda key: nn.fit(trainer, trainer.init(key, data.x), data, epochs=1, batch_size=2,\n"
        "    validation=data, metrics=nn.metrics.accuracy), jax.random.key(0))\n"
        "print(*sys.modules)"
    )
    assert "jaxnn.optim._adam" in brought
    heavy = {"flax", "keras", "matplotlib", "optuna", "pandas", "sklearn", "torch", "tqdm", "jaxnn.search",
             "jaxnn.ensembles", "jaxnn.models", "jaxnn.optim._lbfgs", "jaxnn.layers._attention"}  # fmt: skip
    assert heavy & set(brought) == set()


def test_a_name_that_is_not_there_is_refused_with_the_one_that_was_meant():
    with pytest.raises(AttributeError, match=r"^module 'jaxnn\.optim' has no attribute 'adm'$") as caught:
        _ = nn.optim.adm  # pyright: ignore[reportAttributeAccessIssue]
    assert (caught.value.name, caught.value.obj) == ("adm", nn.optim)
    with pytest.raises(ImportError, match="cannot import name 'adm'"):
        from jaxnn.optim import adm  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue]


def test_names_are_those_of_the_source(tmp_path, monkeypatch):
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from jaxnn._on_demand import on_demand\n"
        "if TYPE_CHECKING:\n"
        "    from rooms import cellar as cellar\n"
        "    from rooms._attic import (\n"
        "        a_name_too_long_for_its_line as a_name_too_long_for_its_line,\n"
        "    )\n"
        "else:\n"
        "    __getattr__, __dir__ = on_demand(__name__)\n"
    )
    (tmp_path / "rooms" / "cellar.py").write_text("")
    (tmp_path / "rooms" / "_attic.py").write_text("a_name_too_long_for_its_line = hidden = 3")
    monkeypatch.syspath_prepend(tmp_path)
    import rooms  # pyright: ignore[reportMissingImports]

    assert [name for name in dir(rooms) if not name.startswith("_")] == ["a_name_too_long_for_its_line", "cellar"]
    assert "_attic" not in vars(rooms)
    assert (rooms.a_name_too_long_for_its_line, rooms.cellar.__name__) == (3, "rooms.cellar")
    assert vars(rooms)["a_name_too_long_for_its_line"] == 3
    with pytest.raises(AttributeError):
        _ = rooms.hidden
    assert on_demand("rooms")[0]("cellar") is rooms.cellar


def test_any_room_may_be_the_first_to_be_entered():
    """Each is imported anew, when none of the library is there: what imports in a circle would not come to an end."""
    assert process(
        "import importlib, pkgutil, sys, jaxnn\n"
        "names = [module.name for module in pkgutil.iter_modules(jaxnn.__path__, 'jaxnn.') if module.ispkg]\n"
        "for name in names:\n"
        "    for known in [known for known in sys.modules if known.partition('.')[0] == 'jaxnn']:\n"
        "        del sys.modules[known]\n"
        "    room = importlib.import_module(name)\n"
        "    [getattr(room, public) for public in getattr(room, '__all__', ())]\n"
        "print(len(names) > 10)"
    ) == ["True"]


def test_what_is_imported_in_a_trace_keeps_no_tracer():
    """A name may be asked for first within `jit`: no module computes an array when it is imported."""
    assert process(
        "import gc, importlib, pkgutil, jax, jaxnn\n"
        "names = [module.name for module in pkgutil.walk_packages(jaxnn.__path__, 'jaxnn.')]\n"
        "jax.jit(lambda x: [importlib.import_module(name) and x for name in names][0])(1.0)\n"
        "print(len(names) > 100, sum(isinstance(value, jax.core.Tracer) for value in gc.get_objects()))"
    ) == ["True", "0"]


def test_a_module_that_is_no_room_of_its_own_is_there_too():
    code = "import jaxnn as nn; print(nn.typing.__name__, nn.errors.__name__, 'typing' in nn.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jaxnn.typing", "jaxnn.errors", "False"]
