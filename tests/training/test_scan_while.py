"""The scan that stops: its rows, and its derivative beside that of the same loop in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import assert_close, compilations

from jaxnn.training._scan_while import scan_while

pytestmark = pytest.mark.usefixtures("x64")

MAX_STEPS = 5
W, X = np.array([[0.9, -0.4], [0.5, 0.8]]), np.array([0.6, -0.3])
LIMITS = [0.1, 0.5, 1.5, 1e6]


def unrolled(cond, body, carry, *, max_steps):
    """The same in Python, for concrete numbers only."""
    rows = []
    while len(rows) < max_steps and cond(jax.lax.stop_gradient(carry)):
        carry, row = body(carry)
        rows.append(row)
    blank = jax.tree.map(lambda r: jnp.full_like(r, jnp.nan if r.dtype.kind == "f" else 0), body(carry)[1])
    steps = len(rows)
    rows += [blank] * (max_steps - steps)
    return carry, jax.tree.map(lambda *r: jnp.stack(r), *rows), jnp.int32(steps)


def looping(scan):
    """A number made of the last carry and of all rows, and what has no derivative; with a key in the carry."""

    def run(w, x, limit, seed):
        def body(carry):
            noise = jax.random.normal(carry["key"], x.shape)
            moved = 1.5 * jnp.tanh(w @ carry["x"]) + 0.1 * noise
            after = {"x": moved, "key": jax.random.fold_in(carry["key"], carry["count"]), "count": carry["count"] + 1}
            return after, {"square": carry["x"] ** 2, "count": carry["count"], "both": moved @ x}

        begin = {"x": x, "key": jax.random.key(seed), "count": jnp.int32(3)}
        end, rows, steps = scan(lambda c: (c["x"] ** 2).sum() < limit, body, begin, max_steps=MAX_STEPS)
        seen = jnp.where(jnp.isnan(rows["square"]), 0, rows["square"])
        weights = jnp.arange(1.0, MAX_STEPS + 1)
        total = end["x"].sum() + (weights[:, None] * seen).sum() + 0.3 * jnp.nansum(rows["both"])
        return total, (rows, steps, end["count"])

    return jax.value_and_grad(run, (0, 1), has_aux=True)


ours = jax.jit(looping(scan_while))


@pytest.mark.parametrize(("limit", "steps"), [*zip(LIMITS, [0, 1, 3, MAX_STEPS], strict=True)])
def test_rows_and_gradients_are_those_of_the_loop_in_python(limit, steps):
    got, expected = (each(W, X, limit, 1) for each in (ours, looping(unrolled)))
    assert_close(got, expected, 1e-12)
    assert got[0][1][1] == steps


def test_each_member_stops_where_its_own_run_does():
    got = jax.jit(jax.vmap(looping(scan_while), (None, None, 0, 0)))(W, X, jnp.array(LIMITS), jnp.arange(4))
    each = [ours(W, X, limit, seed) for seed, limit in enumerate(LIMITS)]
    assert_close(got, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each), 1e-12)
    assert len(set(np.asarray(got[0][1][1]).tolist())) > 2


def test_other_values_are_no_other_program():
    ours(W, X, 0.1, 1)
    with compilations() as seen:
        ours(W + 1, X, 0.2, 2)
    assert not seen


def test_a_gradient_keeps_as_much_as_there_are_steps_and_not_their_square():
    """Rows in the carry would be kept before every step."""

    def largest(max_steps):
        def last(x):
            end, rows, _ = scan_while(lambda x: x < 9, lambda x: (x * 1.01, x), x, max_steps=max_steps)
            return end + jnp.nansum(rows)

        equations = jax.make_jaxpr(jax.grad(last))(1.0).eqns
        return max(v.aval.size for equation in equations for v in equation.outvars)

    assert largest(90) == 90
