"""Every property that a schedule must have, over every row of `schedule_rows.py`."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from schedule_rows import SCHEDULES

from jaxnn import schedules

COUNTS = np.arange(60)
WITH_PEER = [row for row in SCHEDULES if row.peer]
SWEPT = [pytest.param(row, name, id=f"{row.name}-{name}") for row in SCHEDULES for name in row.arguments]

each_schedule = pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: row.name)
each_argument = pytest.mark.parametrize(("row", "name"), SWEPT)


def at_every_count(schedule):
    return jax.vmap(lambda count: jnp.asarray(schedule(count), jnp.result_type(float)))(COUNTS)


@pytest.mark.parametrize("row", WITH_PEER, ids=lambda row: row.name)
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-12), (jnp.float32, 1e-6)], ids=["f64", "f32"])
def test_values_are_those_of_optax_at_every_count(row, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        ours = at_every_count(row.ours(**row.arguments))
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            theirs = at_every_count(row.peer(**row.arguments))
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


SHARED = [
    name
    for name in dir(optax.schedules)
    if not name.startswith("_") and name.endswith(("_schedule", "_decay", "_schedules"))
]


@pytest.mark.parametrize("name", SHARED)
def test_every_schedule_of_optax_is_here_with_its_arguments_and_defaults(name):
    outline = lambda function: [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]
    assert outline(getattr(schedules, name)) == outline(getattr(optax.schedules, name))


def test_every_schedule_has_a_row():
    rows = (Path(__file__).parent / "schedule_rows.py").read_text()
    assert len(SHARED) >= 14
    assert [name for name in schedules.__all__ if not re.search(rf"\b{name}\b", rows)] == []


@each_schedule
def test_a_python_int_and_a_traced_count_are_alike(row, x64):
    schedule = row.ours(**row.arguments)
    in_scan = jax.lax.scan(lambda count, _: (count + 1, jnp.asarray(schedule(count))), jnp.int32(0), length=50)[1]
    np.testing.assert_allclose(in_scan, [float(schedule(count)) for count in range(50)], rtol=1e-12)


@each_schedule
def test_a_sweep_of_all_arguments_compiles_once_and_equals_a_loop(row, x64):
    traces = []

    @jax.jit
    def at(arguments):
        traces.append(1)
        return jax.vmap(lambda count: jnp.asarray(row.ours(**arguments)(count)))(COUNTS)

    members = [{name: factor * value for name, value in row.arguments.items()} for factor in (1.0, 0.9, 1.05)]
    stacked = {name: np.stack([member[name] for member in members]) for name in row.arguments}
    looped = [at({name: jnp.asarray(value) for name, value in member.items()}) for member in members]
    assert len(traces) == 1
    np.testing.assert_allclose(jax.jit(jax.vmap(at))(stacked), looped, rtol=1e-12)
    np.testing.assert_allclose(looped[0], at_every_count(row.ours(**row.arguments)), rtol=1e-12)


@each_argument
def test_the_derivative_by_every_argument_is_right(row, name, x64):
    at = lambda value: jnp.asarray(row.ours(**{**row.arguments, name: value})(jnp.int32(17)))
    value = row.arguments[name]
    expected = (at(value + 1e-6) - at(value - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(at))(value), expected, rtol=1e-6, atol=1e-8)


@each_argument
def test_derivatives_are_finite_at_every_count(row, name, x64):
    """At the begin, at the end and at every corner too."""
    at = lambda value: at_every_count(row.ours(**{**row.arguments, name: value}))
    assert np.isfinite(jax.jit(jax.jacfwd(at))(row.arguments[name])).all()


@each_argument
def test_every_argument_has_an_effect(row, name, x64):
    at = lambda value: np.asarray(at_every_count(row.ours(**{**row.arguments, name: value})))
    value = row.arguments[name]
    assert np.abs(at(value) - at(0.7 * value)).max() > 1e-6
