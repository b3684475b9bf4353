"""`cross_validate` and its nested form: folds are single runs, one program, and know nothing of what is held out."""

import functools
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations, regression
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

import jaxnn as nn
from jaxnn.data import folds, grouped_k_fold, k_fold, leave_one_group_out, stratified_k_fold, time_ordered
from jaxnn.search import CrossValidation, Grid, NestedCrossValidation, Random, Uniform, member_key

crossed_quietly = functools.partial(nn.cross_validate, progress=False)
nested_quietly = functools.partial(nn.search.nested_cross_validate, progress=False)


def training(key, train, validation, learning_rate, *, model, **how):
    """A whole run, which returns what it has learned too."""
    trainer = nn.trainer(model, nn.losses.mse, nn.adam(learning_rate))
    ts = trainer.init(key, train.x)
    ts, _ = nn.fit(trainer, ts, train, epochs=3, **how | {"batch_size": how.get("batch_size", train.examples)})
    return {"loss": nn.evaluate(trainer, ts, validation, nn.losses.mse), "params": ts.params}


PLAIN = nn.serial(nn.Dense(1, bias=False), nn.tanh)
NOISY = nn.serial(nn.Dense(2, bias=False), nn.BatchNorm(), nn.tanh, nn.Dropout(0.2), nn.Dense(1))
EVEN_OUT = {
    "of one size": (k_fold(12, 3, key=jax.random.key(5)), {"model": NOISY, "batch_size": 3}),
    "filled up, whole batches": (k_fold(10, 3), {"model": PLAIN}),
    "filled up, as many batches in order": (k_fold(10, 3), {"model": PLAIN, "batch_size": 4, "shuffle": False}),
    "filled up much, whole batches": (time_ordered(12, 2), {"model": PLAIN}),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("of", "how"), EVEN_OUT.values(), ids=EVEN_OUT)
def test_members_are_single_runs_on_the_examples_of_their_fold(of, how, key):
    data, run = regression(of.n, weighted=True), functools.partial(training, **how)
    rates = [0.01, 0.1]
    crossed = crossed_quietly(run, data, of, key, space=Grid(learning_rate=rates), seeds=2)
    alone = jax.jit(run)  # which compiles anew for each length
    for trial, seed in ((0, 1), (1, 0)):
        for fold, (train, validation) in enumerate(of):
            own = member_key(key, trial * len(of) + fold, seed)
            expected = alone(own, data.take(train), data.take(validation), rates[trial])
            got = jax.tree.map(lambda leaf, at=(trial, fold, seed): leaf[at], crossed.results)
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-12), got, expected)
    assert len(np.unique(crossed.values)) == 2 * len(of) * 2


@pytest.mark.usefixtures("x64")
def test_weights_of_tokens_count_where_folds_are_filled_up(key):
    """One member after another, and blocks that end within a trial."""
    random, of = np.random.default_rng(0), leave_one_group_out([0, 0, 0, 1, 1, 2])
    data = nn.Data(random.normal(size=(6, 4, 3)), random.integers(0, 3, (6, 4)), random.choice([0.0, 0.5, 2.0], (6, 4)))

    def run(key, train, validation, learning_rate):
        trainer = nn.trainer(nn.Dense(3), nn.losses.cross_entropy, nn.adam(learning_rate))
        ts, _ = nn.fit(trainer, trainer.init(key, train.x), train, epochs=2, batch_size=train.examples)
        return nn.evaluate(trainer, ts, validation, nn.metrics.accuracy), nn.evaluate(trainer, ts, validation)

    crossed = crossed_quietly(run, data, of, key, space=Grid(learning_rate=[0.01, 0.1]), objective="1", method="map",
                              block=2)  # fmt: skip
    alone = jax.jit(run)
    for fold, (train, validation) in enumerate(of):
        expected = alone(member_key(key, len(of) + fold), data.take(train), data.take(validation), 0.1)
        got = [leaf[1, fold, 0] for leaf in crossed.results]
        np.testing.assert_allclose(got, expected, rtol=1e-8)


def ridge(key, train, validation, alpha):
    """Least squares with a penalty, in closed form, and the mean squared error of it."""
    w = jnp.ones(train.examples) if train.w is None else train.w
    mean = lambda a: jnp.einsum("n,n...->...", w, a) / w.sum()
    x, y = train.x - mean(train.x)[None], train.y - mean(train.y)[None]
    hessian = jnp.einsum("n,ni,nj->ij", w, x, x) + alpha * jnp.eye(x.shape[1])
    weights = jnp.linalg.solve(hessian, jnp.einsum("n,ni,nj->ij", w, x, y))
    error = (validation.x - mean(train.x)[None]) @ weights + mean(train.y)[None] - validation.y
    judged = jnp.ones(validation.examples) if validation.w is None else validation.w
    return {"mse": jnp.einsum("n,nj->", judged, error**2) / judged.sum(), "weights": weights}


def noise(n, features, *, seed=0):
    """Inputs, and labels of two classes that have nothing to do with them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, features)).astype(np.float32)
    return nn.Data(x, random.permutation(np.arange(n, dtype=np.int32) % 2))


def cheap(key, train, validation, x, y=0.0):
    return (x - 0.3) ** 2 + y + 0.01 * validation.y.mean() + 0.001 * jax.random.uniform(key)


def test_all_folds_of_all_numbers_are_one_program_and_static_settings_one_each(key):
    data = regression(10)

    def counted(**settings):
        with compilations() as seen:
            crossed = crossed_quietly(run, data, k_fold(10, 3), key, **settings)
        return len(seen), crossed

    def run(key, train, validation, x=0.5, width=2):
        return (x * train.x[:, :width].sum() - validation.y.sum()) ** 2 + jax.random.uniform(key)

    counted()  # what looks at the key
    programs, crossed = counted(space=Random(5, x=Uniform(0.0, 1.0)), seeds=2, block=7)
    assert programs == 1
    assert crossed.values.shape == (5, 3, 2)
    programs, crossed = counted(space=Grid(x=[0.1, 0.2], width=[1, 3]), static=("width",))
    assert programs == 2
    assert crossed.values.shape == (4, 3, 1)


def test_without_a_space_there_is_one_trial(key):
    crossed = crossed_quietly(functools.partial(cheap, x=0.5), regression(12), k_fold(12, 4), key, seeds=2)
    assert (crossed.trials, crossed.folds, crossed.seeds) == (1, 4, 2)
    assert crossed.best == {}
    assert crossed.best_value == crossed.mean[0] == pytest.approx(crossed.values.mean())
    assert crossed.std[0] == pytest.approx(crossed.by_fold[0].std(ddof=1))
    assert repr(crossed).startswith("Cross-validation over 4 folds x 2 seeds: objective 0.04")
    assert crossed.table().split()[:4] == ["trial", "objective", "std", "error"]


def test_the_best_trial_is_that_of_the_best_mean(key):
    data = regression(12)
    for mode, best in (("min", {"x": 0.25, "y": 0.0}), ("max", {"x": 1.0, "y": 0.5})):
        space = Grid(x=[0.25, 1.0, 0.5], y=[0.0, 0.5])
        crossed = crossed_quietly(cheap, data, k_fold(12, 3), key, space=space, mode=mode)
        assert crossed.best == best
        assert crossed.best_value == crossed.by_fold.mean(axis=1)[crossed.ranking[0]]


VALUES = np.array([[1.0, 2.0, 6.0], [2.0, 2.0, 2.0], [0.0, np.nan, 0.0], [np.nan, np.inf, np.nan]])[:, :, None]
TRIED = {"x": np.array([0.5, 1.0, 2.0, 4.0]), "f": ["a", "b", "c", "d"]}
RESULT = CrossValidation(TRIED, {"loss": VALUES}, "loss", "min")


def test_a_fold_that_failed_is_counted_and_its_trial_is_behind():
    np.testing.assert_array_equal(RESULT.mean, [3, 2, 0, np.nan])
    np.testing.assert_allclose(RESULT.std, [np.sqrt(7), 0, 0, np.nan])
    np.testing.assert_allclose(RESULT.standard_error, [np.sqrt(7 / 3), 0, 0, np.nan])
    assert RESULT.failed.tolist() == [0, 0, 1, 3]
    assert RESULT.ranking.tolist() == [1, 0, 2, 3]
    assert RESULT.best == {"x": 1.0, "f": "b"}
    assert repr(RESULT) == (
        "Cross-validation of 4 trials over 3 folds: loss 0 to 3, best at x=1, f=b; of 12 runs 4 failed"
    )
    assert RESULT.table(rows=3) == (
        "trial    x  f  loss    std  error  failed\n"
        "-----  ---  -  ----  -----  -----  ------\n"
        "    1    1  b     2      0      0       0\n"
        "    0  0.5  a     3  2.646  1.528       0\n"
        "    2    2  c     0      0      0       1\nand 1 more"
    )


def test_a_table_tells_results_that_are_called_as_its_own_figures():
    for name in ("error", "std", "failed"):
        crossed = CrossValidation({}, {name: np.array([[[1.0], [2.0]]])}, name, "min")
        assert crossed.table().splitlines()[0].split() == ["trial", name, "std", "error"]
        assert crossed.table().splitlines()[2].split() == ["0", "1.5", "0.7071", "0.5"]


def test_a_seed_that_failed_is_a_fold_that_failed():
    crossed = CrossValidation({}, {"loss": np.array([[[1.0, np.nan], [3.0, 5.0]]])}, "loss", "min")
    np.testing.assert_array_equal(crossed.by_fold, [[np.nan, 4]])
    assert crossed.failed.tolist() == [1]
    assert crossed.best_value == 4
    assert repr(crossed) == "Cross-validation over 2 folds x 2 seeds: loss 4, std nan; of 2 runs 1 failed"


def test_where_all_failed_there_is_no_best(key):
    crossed = CrossValidation({}, {"loss": np.full((1, 3, 1), np.nan)}, "loss", "max")
    assert repr(crossed) == "Cross-validation over 3 folds: all runs failed"
    with pytest.raises(ValueError, match="expected a member with a finite loss, because the best is one; got 3 that"):
        crossed.best  # noqa: B018


def test_data_frames_have_a_row_for_every_member(key, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=dict))  # it takes columns by name
    crossed = crossed_quietly(cheap, regression(6), k_fold(6, 2), key, space=Grid(x=[0.5, 1.0]), seeds=2)
    frame = crossed.to_pandas()
    assert list(frame) == ["trial", "seed", "fold", "x", "objective"]
    assert [list(frame[name]) for name in ("trial", "seed", "fold", "x")] == [
        [0] * 4 + [1] * 4, [0, 1] * 4, [0, 0, 1, 1] * 2, [0.5] * 4 + [1.0] * 4,
    ]  # fmt: skip
    np.testing.assert_array_equal(frame["objective"], crossed.values.ravel())
    nested = NestedCrossValidation(RESULT, np.zeros(3, int), np.array([1, 0]), {"loss": np.ones((2, 1))}, "loss", "min")
    frame = nested.to_pandas()
    assert [list(frame[name]) for name in ("trial", "seed", "fold", "x", "f")] == [
        [1, 0], [0, 0], [0, 1], [1.0, 0.5], ["b", "a"],
    ]  # fmt: skip


def test_a_ledger_goes_on_and_knows_its_folds_and_data(key, tmp_path):
    data, ledger, space = regression(8), tmp_path / "ledger", Grid(x=[0.5, 1.0])
    calls = []

    def run(key, train, validation, x):
        calls.append(x)
        return validation.y.mean() * x

    first = crossed_quietly(run, data, k_fold(8, 2), key, space=space, ledger=ledger)
    text = ledger.read_text().splitlines(keepends=True)
    assert len(text) == 1 + 2 * 2
    ledger.write_text("".join(text[:3]))
    again = crossed_quietly(run, data, k_fold(8, 2), key, space=space, ledger=ledger)
    np.testing.assert_array_equal(first.values, again.values)
    assert "folds and data" not in again.columns
    shuffled, others = k_fold(8, 2, key=key), data._replace(y=data.y + 1)
    for of, given in ((shuffled, data), (k_fold(8, 2), others)):
        with pytest.raises(ValueError, match="ledger"):
            crossed_quietly(run, given, of, key, space=space, ledger=ledger)
    with pytest.raises(ValueError, match="ledger"):
        crossed_quietly(run, data, k_fold(8, 2), jax.random.key(1), space=space, ledger=ledger)


def selecting(key, train, validation, *, seen=None, features=20):
    """The classic leak: features by their correlation with y, then the nearer of two class means.

    Args:
        seen: What features are selected by; the training part unless a leak is planted.
    """
    by = train if seen is None else seen
    w = jnp.ones(by.examples) if by.w is None else by.w
    center = lambda a: a - (jnp.einsum("n,n...->...", w, a) / w.sum())[None]
    x = center(by.x)
    covariance = jnp.einsum("n,ni,n->i", w, x, center(by.y.astype(jnp.float32)))
    correlation = covariance / jnp.sqrt(jnp.einsum("n,ni->i", w, x**2))
    _, best = jax.lax.top_k(jnp.abs(correlation), features)
    w = jnp.ones(train.examples) if train.w is None else train.w
    of = [w * (train.y == c).astype(w.dtype) for c in (0, 1)]
    means = [jnp.einsum("n,ni->i", each, train.x[:, best]) / each.sum() for each in of]
    nearer = [((validation.x[:, best] - mean[None]) ** 2).sum(axis=1) for mean in means]
    right = ((nearer[1] < nearer[0]) == (validation.y == 1)).astype(w.dtype)
    w = jnp.ones(validation.examples) if validation.w is None else validation.w
    return {"accuracy": (w * right).sum() / w.sum(), "best": best, "means": jnp.stack(means)}


def test_what_is_selected_outside_of_the_folds_is_too_good_to_be_true(key):
    """On labels of pure noise a half is right; four standard deviations of 100 guesses are 20 percent."""
    data = noise(100, 1000)
    of = stratified_k_fold(data.y, 5, key=key)
    leaking = functools.partial(selecting, seen=data.on_device())
    inside, outside = (crossed_quietly(run, data, of, key, objective="accuracy", mode="max").best_value
                       for run in (selecting, leaking))  # fmt: skip
    assert abs(inside - 0.5) < 0.2
    assert outside > 0.8


STANDARDISED = {"inside": lambda data, train: train, "outside": lambda data, train: data}
SPLITS = {
    "k_fold": ("inside", k_fold(22, 4, key=jax.random.key(3))),
    "grouped": ("inside", grouped_k_fold(np.arange(22) % 5, 3)),
    "time": ("inside", time_ordered(22, 2, gap=1)),
    "leaking": ("outside", k_fold(22, 4)),
}


@pytest.mark.parametrize(("where", "of"), SPLITS.values(), ids=SPLITS)
def test_what_is_held_out_changes_nothing_that_is_trained(where, of, key):
    """Bit for bit, whatever the held out rows become; and a scaling by all the data, a planted leak, is found out."""
    model = nn.serial(nn.Dense(2), nn.BatchNorm(), nn.tanh, nn.Dense(1))

    @jax.jit
    def trained(data, fold):
        train, validation = of.of(data, fold)
        by = STANDARDISED[where](data, train)
        mean, std = by.x.mean(axis=0, keepdims=True), by.x.std(axis=0, keepdims=True)
        train, validation = (part._replace(x=(part.x - mean) / std) for part in (train, validation))
        return training(key, train, validation, 0.1, model=model, batch_size=4)

    data, random = regression(22), np.random.default_rng(0)
    same = []
    for fold, (_, held) in enumerate(of):
        changed = jax.tree.map(np.array, data)
        changed.x[held] = random.normal(5, 3, size=changed.x[held].shape)
        changed.y[held] = random.normal(size=changed.y[held].shape)
        before, after = trained(data, fold), trained(jax.tree.map(jnp.asarray, changed), fold)
        assert before["loss"] != after["loss"]
        leaves = zip(*(jax.tree.leaves(each["params"]) for each in (before, after)), strict=True)
        same.append(all(np.array_equal(a, b) for a, b in leaves))
    assert same == [where == "inside"] * len(of)


def test_nor_in_the_whole_of_a_cross_validation(key):
    """What a fold selects and what its means are stays as it is when the labels that it holds out are turned round."""
    data, fold = noise(20, 30), 2
    of = stratified_k_fold(data.y, 4)
    _, held = list(of)[fold]
    turned = data.y.copy()
    turned[held] = 1 - turned[held]
    before, after = (crossed_quietly(selecting, data._replace(y=y), of, key, objective="accuracy").results
                     for y in (data.y, turned))  # fmt: skip
    for name in ("best", "means"):
        np.testing.assert_array_equal(before[name][0, fold], after[name][0, fold])
    assert before["accuracy"][0, fold, 0] == pytest.approx(1 - after["accuracy"][0, fold, 0])
    assert (before["means"][0, fold - 1] != after["means"][0, fold - 1]).any()  # which is trained on these labels


ALPHAS = [0.01, 1.0, 10.0, 30.0, 100.0]


def linear(n, *, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 12))
    return nn.Data(x, x @ random.normal(size=(12, 1)) * 0.3 + random.normal(size=(n, 1)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("n", [36, 31])
def test_a_nested_one_is_that_of_scikit_learn(n, key):
    """Ridge regression has a closed form: the same choices, and the same errors to 1e-8, also where folds differ."""
    data = linear(n)
    nested = nested_quietly(ridge, data, k_fold(n, 4), lambda rows: k_fold(len(rows), 3), Grid(alpha=ALPHAS), key,
                            objective="mse")  # fmt: skip
    search = GridSearchCV(Ridge(), {"alpha": ALPHAS}, scoring="neg_mean_squared_error", cv=KFold(3))
    theirs = cross_validate(search, data.x, data.y[:, 0], scoring="neg_mean_squared_error", cv=KFold(4),
                            return_estimator=True)  # fmt: skip
    assert [each["alpha"] for each in nested.hyperparameters] == [e.best_params_["alpha"] for e in theirs["estimator"]]
    assert len(set(nested.chosen)) > 1  # else the choice would be none
    np.testing.assert_allclose(nested.by_fold, -theirs["test_score"], rtol=1e-8)
    np.testing.assert_allclose(nested.within, [-e.best_score_ for e in theirs["estimator"]], rtol=1e-8)
    assert nested.mean == pytest.approx(-theirs["test_score"].mean(), rel=1e-8)
    assert nested.std == pytest.approx(theirs["test_score"].std(ddof=1), rel=1e-8)
    assert nested.standard_error == pytest.approx(nested.std / 2)
    crossed = crossed_quietly(ridge, data, k_fold(n, 4), key, space=Grid(alpha=ALPHAS), objective="mse")
    plain = GridSearchCV(Ridge(), {"alpha": ALPHAS}, scoring="neg_mean_squared_error", cv=KFold(4))
    plain.fit(data.x, data.y[:, 0])
    np.testing.assert_allclose(crossed.mean, -plain.cv_results_["mean_test_score"], rtol=1e-8)
    np.testing.assert_allclose(crossed.ranking.argsort() + 1, plain.cv_results_["rank_test_score"])


@pytest.mark.usefixtures("x64")
def test_a_nested_one_is_a_plain_loop(key):
    """With what draws, several seeds, and inner folds that are not as many within each outer one."""
    data, groups = linear(24), np.repeat(np.arange(5), [4, 4, 8, 4, 4])
    outer = k_fold(24, 3)
    inner = lambda rows: leave_one_group_out(groups[rows])

    def run(key, train, validation, alpha):
        return ridge(key, train, validation, alpha)["mse"] * jax.random.uniform(key, minval=0.9, maxval=1.1)

    nested = nested_quietly(run, data, outer, inner, Grid(alpha=ALPHAS), key, seeds=2)

    alone, at = jax.jit(run), 0
    inner_key, outer_key = jax.random.split(key)
    split = [[(rows[t], rows[v]) for t, v in inner(rows)] for rows, _ in outer]
    count = sum(map(len, split))
    assert len(set(map(len, split))) > 1
    for fold, ((rows, held), within) in enumerate(zip(outer, split, strict=True)):
        means = np.zeros(len(ALPHAS))
        for train, validation in within:
            for trial, alpha in enumerate(ALPHAS):
                for seed in range(2):
                    own = member_key(inner_key, trial * count + at, seed)
                    loss = alone(own, data.take(train), data.take(validation), alpha)
                    np.testing.assert_allclose(nested.inner.values[trial, at, seed], loss, rtol=1e-8)
                    means[trial] += loss / (2 * len(within))
            at += 1
        assert nested.chosen[fold] == means.argmin()
        np.testing.assert_allclose(nested.within[fold], means.min(), rtol=1e-8)
        for seed in range(2):
            own = member_key(outer_key, fold, seed)
            loss = alone(own, data.take(rows), data.take(held), ALPHAS[means.argmin()])
            np.testing.assert_allclose(nested.values[fold, seed], loss, rtol=1e-8)
    assert nested.inner_of.tolist() == np.repeat(np.arange(3), list(map(len, split))).tolist()


def test_a_choice_is_not_judged_by_what_it_was_made_by(key):
    """Of 300 guesses the best one seems good, on pure noise; judged on what it was not chosen by, it is a guess."""

    guesses = np.random.default_rng(0).integers(0, 2, (300, 60))

    def run(key, train, validation, number):
        guessed = jnp.asarray(guesses)[number, validation.x[:, 0].astype(jnp.int32)]
        return (guessed == validation.y).mean(dtype=jnp.float32)

    means, best = [], []
    for seed in range(3):
        data, space = noise(60, 1, seed=seed), Grid(number=np.arange(300))
        data.x[:, 0] = np.arange(60)
        outer, inner = k_fold(60, 5), lambda rows: k_fold(len(rows), 4)
        nested = nested_quietly(run, data, outer, inner, space, key, mode="max")
        means.append(nested.mean)
        best.append(crossed_quietly(run, data, outer, key, space=space, mode="max").best_value)
        assert nested.within.mean() > 0.6
    assert np.mean(best) > 0.65
    assert abs(np.mean(means) - 0.5) < 0.15  # four standard deviations of 3 x 60 guesses


def test_a_nested_one_is_two_programs(key, tmp_path):
    data, ledger = regression(12), tmp_path / "ledger"
    split = (k_fold(12, 3), lambda rows: k_fold(len(rows), 2))
    run = lambda key, train, validation, x: validation.y.sum() * x + jax.random.uniform(key)
    nested_quietly(run, data, *split, Grid(x=[1.0]), key)  # what looks at the key
    with compilations() as seen:
        nested = nested_quietly(run, data, *split, Random(5, x=Uniform(0.0, 1.0)), key, seeds=2, ledger=ledger)
    assert len(seen) == 2
    assert nested.inner.values.shape == (5, 6, 2)
    # All is in the ledgers: it is read, and the same.
    again = nested_quietly(run, data, *split, Random(5, x=Uniform(0.0, 1.0)), key, seeds=2, ledger=ledger)
    np.testing.assert_array_equal(nested.values, again.values)
    assert (tmp_path / "ledger.outer").exists()


def test_functions_are_chosen_among_too_and_failures_are_told(key):
    def run(key, train, validation, f, x):
        """Fails where the first example is held out: outer fold 0, and an inner one within each of the others."""
        return jnp.where(validation.y[0, 0] == data.y[0, 0], jnp.nan, f(x))

    data, space = regression(12), Grid(f=[nn.relu, nn.tanh], x=[1.0, 0.5])
    nested = nested_quietly(run, data, k_fold(12, 3), lambda rows: k_fold(len(rows), 2), space, key)
    assert nested.hyperparameters == [{"f": nn.tanh, "x": 0.5}] * 3
    assert nested.inner.failed.tolist() == [2] * 4
    assert nested.failed == 1
    assert nested.by_fold[1:] == pytest.approx(np.tanh(0.5))
    assert repr(nested) == ("Nested cross-validation over 3 folds: objective 0.4621, std 0; 0.4621 within; 1 failed")
    assert nested.table().splitlines()[2].split() == ["0", "tanh", "0.5", "nan", "0.4621"]


DATA = nn.Data(np.zeros((12, 1), np.float32), np.zeros((12, 1), np.float32))
LABELS = DATA._replace(y=np.repeat(np.array([0, 1], np.int32), 6))
MIXED = DATA._replace(y=np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1]))
ONE_KEY = jax.random.key(0)
X = Grid(x=[0.5])


def by(data=DATA, of=None, key=ONE_KEY, **settings):
    return crossed_quietly(cheap, data, k_fold(12, 3) if of is None else of, key, **settings)


def within(inner, space=X):
    return nested_quietly(cheap, DATA, k_fold(12, 3), inner, space, ONE_KEY)


REFUSED = {
    "arrays": (lambda: by(data=(1, 2), space=X), TypeError, r"expected data as nn.Data\(x, y\), because folds are ro"),
    "pairs": (
        lambda: by(of=[([0], [1])], space=X),
        TypeError,
        r"expected nn.data.Folds, because they say what is held out; got \[\(\[0\], \[1\]\)\]\n  hint: nn.data.k_fold",
    ),
    "folds of others": (
        lambda: by(of=k_fold(11, 3), space=X),
        ValueError,
        r"expected data of 11 examples, because the folds are of so many; got x: float32\[12,1\], y: float32\[12,1\]",
    ),
    "few targets": (
        lambda: by(data=DATA._replace(y=DATA.y[:10]), space=X),
        ValueError,
        r"expected data of 12 examples, because the folds are of so many; got y: float32\[10,1\]$",
    ),
    "no space": (
        lambda: by(space={"x": [1.0]}),
        TypeError,
        r"expected a space or None, because trials come from one; got \{'x': \[1.0\]\}\n  hint: nn.search.Grid",
    ),
    "fold": (
        lambda: by(space=Grid(x=[1.0], fold=[1])),
        ValueError,
        "expected hyperparameters of other names than 'fold', because it is that of a fold's number; got x, fold",
    ),
    "a run as of sweep": (
        lambda: crossed_quietly(lambda key, x: x, DATA, k_fold(12, 3), ONE_KEY, space=X),
        TypeError,
        r"expected run\(key, train, validation, \*\*hyperparameters\), because it is trained on one part and judged on "
        r"the other; got run\(key, x\)",
    ),
    "unknown": (lambda: by(space=Grid(x=[1.0], z=[1.0])), TypeError, r"expected hyperparameters that run .*; got z"),
    "wanted": (by, TypeError, "expected a space with all hyperparameters that run wants; got none for x"),
    "static": (lambda: by(space=X, static=("y",)), ValueError, "expected static as hyperparameters of the space"),
    "mode": (lambda: by(space=X, mode="least"), ValueError, "expected mode as 'min' or 'max'; got 'least'"),
    "key": (lambda: by(space=X, key=0), TypeError, "expected a key, because members draw from it; got 0"),
    "seeds": (lambda: by(space=X, seeds=0), ValueError, "expected seeds of at least 1"),
    "one class": (
        lambda: by(data=LABELS, of=k_fold(12, 2), space=X),
        ValueError,
        "expected at least two classes in the training part of every fold, because a model learns nothing from one; "
        r"got fold 0 with 6 of class 1 only, fold 1 with 6 of class 0 only\n  hint: nn.data.stratified_k_fold",
    ),
    "within jit": (
        jax.jit(lambda: by(space=X).values),
        TypeError,
        "expected to be called outside of jit, vmap, grad and the like",
    ),
    "inner pairs": (
        lambda: within(lambda rows: list(k_fold(len(rows), 2))[:0]),
        TypeError,
        r"expected inner to return nn.data.Folds, because trials are compared on them; got \[\] for outer fold 0",
    ),
    "inner folds of all": (
        lambda: within(lambda rows: k_fold(12, 2)),
        ValueError,
        "expected inner folds of 8 examples, because outer fold 0 is trained on so many; got folds of 12\n  hint: ",
    ),
    "inner folds of one class": (
        lambda: nested_quietly(cheap, MIXED, k_fold(12, 3), lambda rows: k_fold(len(rows), 2), X, ONE_KEY),
        ValueError,
        "expected at least two classes in the training part of every fold, .*; got fold 1 with 4 of class 1 only\n"
        "  hint: .*\n  in inner folds of outer fold 0",
    ),
    "inner folds that cannot be": (
        lambda: within(lambda rows: k_fold(len(rows), 9)),
        ValueError,
        r"expected k of at most 8, because .*; got 9\n  in inner folds of outer fold 0",
    ),
    "nothing to choose": (
        lambda: within(lambda rows: k_fold(len(rows), 2), None),
        TypeError,
        "expected a space, because hyperparameters are chosen within each fold; got None\n  hint: nn.cross_validate",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("enter", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_before_anything_is_computed(enter, kind, message):
    with pytest.raises(kind, match=message):
        enter()


def test_labels_of_one_class_in_all_are_no_reason_to_refuse(key):
    data = DATA._replace(y=np.zeros(12, np.int32))
    assert crossed_quietly(lambda key, train, validation: train.x.sum(), data, k_fold(12, 3), key).mean == [0]


def test_any_folds_are_crossed(key):
    """Also those of scikit-learn, and such that leave examples out."""
    of = folds([([0, 1, 2], [5]), ([3, 4], [6, 7])], 12)
    y = np.arange(12, dtype=np.float32)[:, None]
    crossed = crossed_quietly(
        lambda key, train, validation: nn.losses.mse(validation.y, 0 * validation.y).max() + 0 * train.y.sum(),
        DATA._replace(y=y), of, key,
    )  # fmt: skip
    np.testing.assert_array_equal(crossed.by_fold, [[25, 49]])


def test_progress_is_told(key, capsys):
    nn.cross_validate(cheap, DATA, k_fold(12, 3), key, space=X)
    assert "member 3/3" in capsys.readouterr().err
