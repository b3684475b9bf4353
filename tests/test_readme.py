"""The README and the pages of docs that have code are true: it runs in order and prints what they say."""

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import jaxnn as nn
from jaxnn.layers import Serial
from jaxnn.ops import _linear

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {"README": README}
PAGES |= {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("training", "search", "ensembles")}
FENCED = re.compile(r"^```(python|text|sh)\n(.*?)^```$", re.M | re.S)
BLOCKS = FENCED.findall(README)
QUOTED = {"def bwd(": Serial.bwd, "def linear_bwd(": _linear.linear_bwd}
NUMBER = re.compile(r"-?\d(?:[\d,]*\d)?(?:\.\d*)?(?:e[-+]\d+)?")


def words(text):
    """Words and numbers apart; a time differs from run to run, and rounding errors do."""
    text = re.sub(r"\d+ us", "_ us", text)
    text = re.sub(r"\d\.\de-(09|1\d)\b", "_", text)
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(text)]
    return NUMBER.sub("#", re.sub(r"[ -]+", " ", text)).split(), numbers


@pytest.mark.slow
@pytest.mark.parametrize(("page", "outputs"), [("README", 10), ("training", 18), ("search", 6), ("ensembles", 6)])
def test_code_prints_what_the_page_says(page, outputs):
    """As a program of its own: how the tests let XLA compile, memory is not what a reader sees."""
    blocks = FENCED.findall(PAGES[page])
    strict = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | strict
    run = [block for kind, block in blocks if kind == "python" and not block.startswith(tuple(QUOTED))]
    command = [sys.executable, "-W", "error", "-c", "\nprint('\f')\n".join(run)]
    printed = iter(
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split("\f")
    )
    shown, checked = None, 0
    for kind, block in blocks:
        if kind == "text":
            assert shown is not None
            (said, said_numbers), (got, got_numbers) = words(block), words(shown)
            assert got == said
            assert got_numbers == pytest.approx(said_numbers, rel=0.02)
            checked += 1
        elif block in run:
            shown = next(printed)
    assert checked == outputs


@pytest.mark.parametrize("start", QUOTED)
def test_quoted_functions_are_the_library_s(start):
    """Up to docstrings and comments, and up to the name of the class."""

    def code(source):
        source = re.sub(r'^ *""".*?"""\n', "", textwrap.dedent(source), flags=re.M | re.S)
        lines = [re.sub(r"\s*#.*", "", line) for line in source.splitlines()]
        return [line for line in lines if line.strip()]

    (quoted,) = [block for kind, block in BLOCKS if kind == "python" and block.startswith(start)]
    assert code(quoted) == code(inspect.getsource(QUOTED[start]))


@pytest.mark.parametrize("page", PAGES)
def test_every_name_on_the_page_exists(page):
    for name in set(re.findall(r"\bnn\.(\w+(?:\.\w+)?)", PAGES[page])):
        value = nn
        for part in name.split("."):
            assert hasattr(value, part), name
            value = getattr(value, part)


def test_every_row_of_the_table_has_its_section():
    """And the other way round: what a section is about is in the table at the top."""
    page = PAGES["training"]
    linked = set(re.findall(r"\]\(#([\w-]+)\)", page))
    headings = re.findall(r"^## (.*)$", page, re.M)
    assert linked == {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_two_commands_each_make_their_own_environment():
    main, tests = (block for kind, block in BLOCKS if kind == "sh")
    for block in (main, tests):
        assert block.startswith("python3 -m venv .venv\n")
    assert "examples/mlp_digits.py" in main
    assert "-m pytest" in tests
