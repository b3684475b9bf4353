"""Transfer at a size that tests can pay for, and at full size: what its docstring expects is what comes out."""

import re

import numpy as np
import pytest

NAME = "transfer_digits"
TINY = {"seeds": 2, "features": 4, "turns": 1, "sizes": (10,), "steps": 24, "picture": None}


def tables(output):
    """Mean and deviation by way and size: of accuracies, and of what they are above those from scratch."""

    def table(text):
        rows = re.findall(r"^(\w[\w ,-]*?)((?: +[+-]?\d\.\d{3} ± \d\.\d{3})+)$", text, re.M)
        return {name: np.array(re.findall(r"[+-]?\d\.\d{3}", numbers), float).reshape(-1, 2) for name, numbers in rows}

    accuracies, gains = output.split("more than from scratch")
    return table(accuracies), table(gains)


def test_every_way_has_a_row_and_their_means_are_returned(told, example):
    means, output = told(NAME, **TINY)
    assert output.startswith("accuracy on 180 test digits from 5 to 9: mean ± deviation of 2 seeds\n")
    accuracies, gains = tables(output)
    assert list(means) == list(accuracies) == ["from scratch", *gains] == list(example(NAME).WAYS)
    for name, row in accuracies.items():
        np.testing.assert_allclose(row[:, 0], means[name], atol=6e-4)
        if name in gains:
            np.testing.assert_allclose(gains[name][:, 0], row[:, 0] - accuracies["from scratch"][:, 0], atol=2e-3)
    assert len({tuple(row[0]) for row in accuracies.values()}) == 5  # no two ways are one


def test_examples_are_of_every_class_alike_and_all_are_met_before_one_is_met_again(example):
    y = np.repeat(np.arange(5), 40)
    module = example(NAME)
    for size in module.SIZES:
        rows = module.met(y, size, seed=3, steps=24)
        assert rows.shape == (240,)
        first = rows[:size]
        assert len(set(first)) == size
        assert (np.bincount(y[first]) == size // 5).all()
        for i in range(size, 240, size):
            again = rows[i : i + size]
            assert len(set(again)) == len(again)
            assert set(again) <= set(first)
    assert (module.met(y, 10, seed=0, steps=1) != module.met(y, 10, seed=1, steps=1)).any()


def test_the_first_task_has_shifted_and_turned_digits_up_to_4_and_the_second_the_others(example):
    first, second, test = example(NAME).tasks(2)
    digits = 721
    assert first.x.shape == (18 * digits, 8, 8, 1)
    assert set(first.y) == set(range(10))
    original, down, turned = (first.x[i * digits : (i + 1) * digits, ..., 0] for i in (4, 1, 13))
    np.testing.assert_array_equal(down[:, 1:], original[:, :-1])
    np.testing.assert_array_equal(turned, np.rot90(original, axes=(1, 2)))
    np.testing.assert_array_equal(first.y[9 * digits :], first.y[: 9 * digits] + 5)
    assert (second.examples, test.examples) == (716, 180)
    assert set(second.y) == set(test.y) == set(range(5))


def test_the_picture_has_a_line_with_bars_for_every_way_and_what_each_has_above_scratch(example):
    result = np.array([[0.7, 0.9], [0.8, 0.9], [0.95, 0.95]])
    better = result + np.array([[0.0, 0.02]])
    figure = example(NAME).draw({"from scratch": result, "transferred, frozen": better}, (10, 30, 100))
    accuracy, gain = ({bars.get_label(): bars.lines for bars in axes.containers} for axes in figure.axes)
    assert (accuracy.keys(), gain.keys()) == ({"from scratch", "transferred, frozen"}, {"transferred, frozen"})
    np.testing.assert_allclose(accuracy["from scratch"][0].get_ydata(), [80, 85, 95])
    np.testing.assert_allclose(accuracy["from scratch"][0].get_xdata(), [10, 30, 100], rtol=0.1)
    np.testing.assert_allclose(gain["transferred, frozen"][0].get_ydata(), [1, 1, 1])
    low, high = (caps.get_ydata() for caps in gain["transferred, frozen"][1])
    np.testing.assert_allclose([low, high], [[0, 0, 0], [2, 2, 2]], atol=1e-9)  # the standard error of 0 and 2 is 1
    assert [accuracy[name][0].get_linestyle() for name in accuracy] == ["--", "-"]
    for axes in figure.axes:
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "30", "100"]


@pytest.mark.slow
def test_at_full_size_it_is_worth_little_and_what_was_learnt_before_decides(told, tmp_path):
    """Differences between ways are of the same examples, so they are surer than the accuracies."""
    means, output = told(NAME, picture=str(tmp_path / "transfer.png"))
    assert f"picture: {tmp_path}" in output
    assert (tmp_path / "transfer.png").read_bytes().startswith(b"\x89PNG")
    scratch, convolutions, frozen, _, gradually = map(np.array, means.values())
    np.testing.assert_allclose(scratch, [0.81, 0.90, 0.96], atol=0.02)
    assert (frozen > convolutions + 0.005).all()
    assert (np.abs(frozen - scratch) < 0.03).all()
    assert (gradually > scratch - 0.01).all()
    after_five_digits = np.array(told(NAME, turns=1, picture=None).metric["transferred, frozen"])
    assert (after_five_digits < frozen - 0.005).all()
