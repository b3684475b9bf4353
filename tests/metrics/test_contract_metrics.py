"""Every property of a metric with a state, over every such metric."""

import functools
import inspect
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_rows import ROWS, logits, numbers

import jaxnn as nn
from jaxnn import metrics as m

every = pytest.mark.parametrize("row", ROWS, ids=repr)


def drawn(row, n=23, seed=0, dtype=None):
    """Prediction, target and weights, some of which are 0."""
    random = np.random.default_rng(seed)
    prediction, target = (jnp.asarray(a) for a in row.draw(random, n))
    weight = jnp.asarray(random.integers(0, 4, n).astype(float))
    cast = lambda a: a.astype(dtype or a.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a
    return jax.tree.map(cast, (prediction, target, weight))


@functools.cache
def compiled(metric):
    return jax.jit(metric.__call__)


def assert_close(got, expected, tolerance=1e-12):
    chex.assert_trees_all_close(got, expected, rtol=tolerance, atol=tolerance)


def test_every_metric_has_a_row():
    shipped = {value for value in vars(m).values() if inspect.isclass(value) and issubclass(value, m.Metric)}
    assert {type(row.metric) for row in ROWS} == shipped - {m.Metric}


@every
def test_parts_make_the_whole_in_any_order(row, x64):
    """Batch by batch, merged pairwise either way, and stacked: of 9, 14 and 0 examples."""
    metric, whole = row.metric, drawn(row)

    @jax.jit
    def every_way(whole):
        cut = lambda first, last: jax.tree.map(lambda x: x[first:last], whole)
        a, b, c = cut(0, 9), cut(9, 23), cut(23, 23)
        update = lambda state, part: metric.update(state, *part)
        sa, sb, sc = (update(metric.init(), part) for part in (a, b, c))
        states = [
            update(update(metric.init(), a), b),
            update(update(metric.init(), b), a),
            update(update(update(metric.init(), c), a), b),
            metric.merge(sa, sb),
            metric.merge(sb, sa),
            metric.merge(metric.merge(sc, sb), metric.merge(sa, metric.init())),
            metric.merged(jax.tree.map(lambda *leaves: jnp.stack(leaves), sa, sc, sb)),
        ]
        if row.additive:
            states.append(jax.tree.map(jnp.add, sa, sb))
        return [metric.compute(state) for state in states]

    expected = compiled(metric)(*whole)
    for got in every_way(whole):
        assert_close(got, expected, 1e-10)


@every
def test_devices_sum_or_gather(row, x64):
    metric, whole = row.metric, drawn(row, 24)
    parts = jax.tree.map(lambda a: a.reshape(3, 8, *a.shape[1:]), whole)

    def on_each(part):
        state = metric.update(metric.init(), *part)
        if row.additive:
            return metric.compute(jax.lax.psum(state, "devices"))
        return metric.compute(metric.merged(jax.lax.all_gather(state, "devices")))

    got = jax.jit(jax.vmap(on_each, axis_name="devices"))(parts)
    assert_close(jax.tree.map(lambda a: np.asarray(a)[1], got), compiled(metric)(*whole), 1e-10)


@every
def test_compiled_it_is_the_same(row, x64):
    assert_close(compiled(row.metric)(*drawn(row)), row.metric(*drawn(row)))


@every
def test_vmap_equals_loop(row, x64):
    members = [drawn(row, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    looped = [compiled(row.metric)(*member) for member in members]
    mapped = jax.jit(jax.vmap(row.metric.__call__))(*stacked)
    assert_close(mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped))


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64], ids=["f32", "bf16", "f64"])
@pytest.mark.parametrize("enabled", [False, True], ids=["", "x64"])
def test_a_state_stays_what_it_is_so_that_scan_carries_it(row, dtype, enabled):
    if dtype == jnp.float64 and not enabled:
        return
    with jax.enable_x64(enabled):
        before = jax.eval_shape(row.metric.init)
        after = jax.eval_shape(lambda arrays: row.metric.update(row.metric.init(), *arrays), drawn(row, dtype=dtype))
        assert after == before
        assert jax.eval_shape(row.metric.merge, before, before) == before
        for leaf in jax.tree.leaves(before):
            assert not leaf.weak_type
            assert leaf.dtype in (jnp.result_type(float), jnp.int32)


@every
def test_a_state_may_be_donated(row):
    arrays = drawn(row, dtype=jnp.float32)
    update = jax.jit(row.metric.update, donate_argnums=0)
    state = jax.tree.map(jnp.array, row.metric.init())  # no two leaves of it one buffer
    twice = jax.jit(row.metric.compute)(update(update(state, *arrays), *arrays))
    doubled = jax.tree.map(lambda a: np.concatenate([a, a]), arrays)
    assert_close(twice, compiled(row.metric)(*doubled), 1e-5)


@every
def test_of_nothing_it_is_what_it_states(row):
    empty = row.metric.compute(row.metric.init())
    figures = empty[:2] if isinstance(empty, tuple) else (empty,)
    stated = row.empty if isinstance(row.empty, tuple) else (row.empty,) * len(figures)
    for figure, value in zip(figures, stated, strict=True):
        np.testing.assert_array_equal(figure, np.full(figure.shape, value))
    prediction, target, weight = drawn(row)
    chex.assert_trees_all_equal(row.metric(prediction, target, jnp.zeros_like(weight)), empty)


@every
def test_what_weighs_nothing_counts_for_nothing_even_if_it_is_nan(row, x64):
    prediction, target, weight = drawn(row)
    junk = jnp.full_like(prediction[:4], jnp.nan)
    got = compiled(row.metric)(
        jnp.concatenate([junk, prediction]),
        jnp.concatenate([target[:4], target]),
        jnp.concatenate([jnp.zeros(4), weight]),
    )
    assert_close(got, compiled(row.metric)(prediction, target, weight))


@every
def test_a_weight_of_two_is_two_examples(row, x64):
    prediction, target, _ = drawn(row)
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:5]]), (prediction, target))
    weight = jnp.concatenate([jnp.full(5, 2.0), jnp.ones(18)])
    assert_close(compiled(row.metric)(prediction, target, weight), compiled(row.metric)(*twice))


@every
def test_a_prediction_that_is_nan_is_seen(row):
    prediction, target, _ = drawn(row)
    got = compiled(row.metric)(prediction.at[3].set(jnp.nan), target)
    figures = jax.tree.leaves(got[:2] if isinstance(got, tuple) else got)
    assert all(np.isnan(figure).any() != row.judges_nan for figure in figures)


@every
def test_bfloat16_is_summed_in_float32(row):
    """Sums of 3000 examples would stand still at 256 in bfloat16."""
    if isinstance(row.metric, m.Collected):
        return  # which keeps what it sees, and has room for 64
    arrays = drawn(row, 3000, dtype=jnp.bfloat16)
    got = compiled(row.metric)(*arrays)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(got))
    wide = jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a, arrays)
    if row.draw.__name__ == "distributions":  # as float32, what was rounded would not be taken for probabilities
        wide = (wide[0] / wide[0].sum(-1, keepdims=True), *wide[1:])
    # A loss may round the figure of each example, and so may what normalises a row.
    exact = not isinstance(row.metric, m.Mean) and row.draw.__name__ != "distributions"
    assert_close(got, compiled(row.metric)(*wide), 2e-5 if exact else 2e-2)


@every
def test_it_is_a_value(row):
    again = pickle.loads(pickle.dumps(row.metric))
    if "nan" not in repr(row):  # which equals itself only as one object
        assert again == row.metric
        assert hash(again) == hash(row.metric)
    names = {name: getattr(m, name) for name in m.__all__}
    losses = {"mse": nn.losses.mse, "softmax": nn.softmax, "sigmoid": nn.sigmoid, "nan": float("nan")}
    written = eval(repr(row.metric).replace("(k=2)", ".bind(k=2)"), names | losses)
    assert repr(written) == repr(again) == repr(row.metric)
    assert written == row.metric
    assert hash(written) == hash(row.metric)


@every
def test_a_second_call_compiles_nothing(row):
    chex.clear_trace_counter()
    function = jax.jit(chex.assert_max_traces(row.metric.__call__, n=1))
    for seed in (0, 1):
        function(*drawn(row, seed=seed))


@every
def test_shapes_that_would_be_broadcast_are_refused(row):
    prediction, target, weight = drawn(row)
    with pytest.raises(nn.ShapeError):
        row.metric(prediction[..., None], target)
    with pytest.raises(nn.ShapeError):
        row.metric(prediction[:-1], target)
    with pytest.raises(nn.ShapeError, match=r"expected weights of shape \(23,\), or any longer prefix of \(23.*; got"):
        row.metric(prediction, target, weight[:, None, None])
    with pytest.raises(nn.ShapeError, match=r"expected weights of shape \(23,\)"):
        row.metric(prediction, target, weight[:5])
    with pytest.raises(nn.ShapeError, match=r"expected weights of shape \(23,\)"):
        row.metric(prediction, target, jnp.float32(2))


def test_weights_of_examples_are_those_of_all_their_elements(x64):
    random = np.random.default_rng(0)
    prediction, target, w = random.normal(size=(4, 3)), random.normal(size=(4, 3)), np.array([1.0, 0.0, 2.0, 3.0])
    got = m.MeanSquaredError()(jnp.asarray(prediction), jnp.asarray(target), jnp.asarray(w))
    np.testing.assert_allclose(got, np.average(((prediction - target) ** 2).mean(1), weights=w), rtol=1e-12)
    each = random.uniform(size=(4, 3))
    got = m.MeanSquaredError()(jnp.asarray(prediction), jnp.asarray(target), jnp.asarray(each))
    np.testing.assert_allclose(got, np.average((prediction - target) ** 2, weights=each), rtol=1e-12)


def test_a_metric_of_examples_is_the_mean_of_it(x64):
    arrays = [jnp.asarray(a) for a in logits(np.random.default_rng(0), 9)]
    np.testing.assert_allclose(m.Mean(nn.losses.cross_entropy)(*arrays), nn.losses.cross_entropy(*arrays).mean())
    assert repr(m.Through(nn.softmax, m.brier_score)) == "Through(softmax, Mean(brier_score))"


def test_a_metric_of_ones_own_needs_three_functions():
    class Largest(m.Metric):
        def init(self):
            return jnp.float32(0)

        def update(self, state, prediction, target, weight=None):
            return jnp.maximum(state, jnp.abs(prediction - target).max())

        def compute(self, state):
            return state

        def merge(self, state, other):
            return jnp.maximum(state, other)

    metric = Largest()
    prediction, target = (jnp.asarray(a, jnp.float32) for a in numbers(np.random.default_rng(0), 9))
    states = jnp.stack([metric.update(metric.init(), prediction[i : i + 3], target[i : i + 3]) for i in (0, 3, 6)])
    assert metric.merged(states) == metric(prediction, target) == jnp.abs(prediction - target).max()
    assert repr(metric) == "Largest()"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (m.Precision, ValueError, "expected threshold= or classes= for Precision, .*; got neither"),
        (lambda: m.Recall(threshold=0.5, classes=2), ValueError, "expected threshold= or classes= .*; got both"),
        (lambda: m.CohenKappa(classes=1), ValueError, "expected classes of at least 2, because .*; got 1"),
        (lambda: m.CohenKappa(classes=2.0), TypeError, "expected classes to be an int, because .*; got 2.0"),
        (lambda: m.Precision(classes=3), ValueError, "expected average micro, macro, .* 3 classes; got 'binary'"),
        (lambda: m.FBeta(classes=3, average="mean"), ValueError, "expected average to be binary, .*; got 'mean'"),
        (lambda: m.FBeta(0.0, threshold=0.5), ValueError, "expected beta above 0, because .*; got 0.0"),
        (lambda: m.FBeta(threshold=jnp.zeros(3)), nn.ShapeError, r"expected threshold of shape \(\), .*; got \(3,\)"),
        (lambda: m.RocAuc(1), ValueError, "expected thresholds of at least 2, because .*; got 1"),
        (lambda: m.RocAuc([0.5, 0.5]), ValueError, "expected thresholds that ascend, because"),
        (lambda: m.RocAuc(jnp.zeros((2, 2))), nn.ShapeError, r"expected thresholds in a row, .*; got \(2, 2\)"),
        (lambda: m.Collected(m.roc_auc, 0), ValueError, "expected capacity of at least 1, because .*; got 0"),
        (lambda: m.CalibrationError(0), ValueError, "expected bins of at least 1, because .*; got 0"),
        (lambda: m.CalibrationError(norm="l3"), ValueError, "expected norm l1, l2 or max, because .*; got 'l3'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(make, error, message, unannotated):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("metric", "prediction", "target", "message"),
    [
        (
            m.Mean(m.log_loss),
            [[2.0, -1.0]],
            [0],
            r"expected predictions from 0 to 1, .*-1 to 2\n.*Through\(jaxnn.softm",
        ),
        (m.Mean(m.brier_score), [[0.5, 0.6]], [0], r"expected rows of predictions that sum to 1, .* from 1.1 to 1.1"),
        (m.BinaryCalibrationError(), [1.5], [0.0], r"expected predictions from 0 to 1, .*\n.*Through\(jaxnn.sigmoid"),
        (m.Precision(threshold=0.5), [0.5, 0.1], [0.0, 2.0], "expected targets from 0 to 1, .*; got targets from 0"),
        (m.Recall(classes=2), [[0.5, 0.1]], [2], "expected labels from 0 to 1"),
        (m.Recall(classes=2), [[0.5, 0.1, 0.3]], [2], r"expected prediction of shape \(..., 2\), because classes=2; "),
        (m.Recall(classes=2), [1, 0], [[1], [0]], r"expected integer labels of shape \(2,\), .*; got int32 of shape"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_and_inside_of_jit_are_nan(metric, prediction, target, message):
    prediction, target = jnp.array(prediction), jnp.array(target)
    with pytest.raises(ValueError, match=message):
        metric(prediction, target)
    if "shape" in message:
        return
    counts = isinstance(metric, m.Precision | m.Recall)  # computed from a matrix
    seen = m.ConfusionMatrix(threshold=metric.threshold, classes=metric.classes) if counts else metric
    assert np.isnan(jax.jit(seen.__call__)(prediction, target)).any()


@pytest.mark.parametrize("metric", [m.ConfusionMatrix(threshold=0.5), m.Collected(m.roc_auc, 4), m.RocAuc(4)], ids=repr)
def test_a_target_that_is_no_answer_is_nan_inside_of_jit(metric):
    got = jax.jit(metric.__call__)(jnp.array([0.1, 0.9, 0.3]), jnp.array([0.0, 1.0, 2.0]))
    assert np.isnan(got).all()


def test_more_than_there_is_room_for_is_nan():
    metric = m.Collected(m.roc_auc, 4)
    prediction, target = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0.0, 0.0, 1.0, 1.0])
    state = metric.update(metric.init(), prediction, target)
    assert metric.compute(state) == 0.75
    state = metric.update(state, prediction, target, jnp.zeros(4))  # which takes no room
    assert metric.compute(state) == 0.75
    overflown = metric.update(state, prediction[:1], target[:1])
    assert np.isnan(metric.compute(overflown))
    assert np.isnan(metric.compute(metric.merge(metric.init(), overflown)))
    assert np.isnan(metric.compute(metric.merge(state, state)))


def test_thresholds_may_be_swept(x64):
    random = np.random.default_rng(0)
    score, target = jnp.asarray(random.uniform(size=50)), jnp.asarray(random.integers(0, 2, 50).astype(float))
    thresholds = jnp.linspace(0.1, 0.9, 5)
    swept = jax.jit(jax.vmap(lambda t: m.Precision(threshold=t)(score, target)))(thresholds)
    curve = m.PrecisionRecallCurve(thresholds)(score, target)
    np.testing.assert_allclose(swept, curve.precision, rtol=1e-12)
    for t, precision in zip(thresholds, swept, strict=True):
        np.testing.assert_allclose(m.Precision(threshold=float(t))(score, target), precision, rtol=1e-12)
    by_jit = jax.jit(lambda t: m.RocCurve(t)(score, target))(thresholds)
    chex.assert_trees_all_close(by_jit, m.RocCurve(tuple(map(float, thresholds)))(score, target), rtol=1e-12)
    betas = jax.vmap(lambda b: m.FBeta(b, threshold=0.5)(score, target))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(betas[1], m.FBeta(2.0, threshold=0.5)(score, target), rtol=1e-12)
