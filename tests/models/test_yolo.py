"""Boxes on a grid: which cell answers, what it is to say, and the loss of what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.models import yolo_boxes, yolo_head, yolo_targets


def target(*boxes, labels=None, grid=7, classes=2, present=None):
    labels = jnp.zeros(len(boxes), int) if labels is None else jnp.array(labels)
    present = None if present is None else jnp.array(present)
    return yolo_targets(jnp.array(boxes), labels, grid=grid, classes=classes, present=present)


def cells_of(target):
    """Rows and columns of the cells with an object."""
    return np.argwhere(np.asarray(target)[..., 4] == 1).tolist()


@pytest.mark.parametrize(("s", "b", "c", "values"), [(7, 2, 20, 1470), (13, 5, 80, 13 * 13 * 105), (1, 1, 0, 5)])
def test_CNN_10_and_E_63_a_head_puts_out_S_S_B_5_plus_C(s, b, c, values):
    head, x = yolo_head(s, b, c), jax.ShapeDtypeStruct((1, 28, 28, 8), jnp.float32)
    y = nn.summary(head, x).rows[-1].output
    assert y.shape == (1, s, s, b * 5 + c)
    assert np.prod(y.shape) == values
    # What is true of a cell is one box, however many it predicts.
    assert target([0.5, 0.5, 0.1, 0.1], grid=s, classes=c).shape == (s, s, 5 + c)


@pytest.mark.parametrize(
    ("centre", "cell"),
    [
        ((0.5, 0.5), [3, 3]),
        ((0.0, 0.0), [0, 0]),
        ((0.99, 0.0), [0, 6]),
        ((0.0, 0.99), [6, 0]),
        ((1.0, 1.0), [6, 6]),  # the far border is of the last cell
        ((3 / 7 + 0.001, 2 / 7 - 0.001), [1, 3]),
    ],
)
def test_CNN_10_the_cell_with_the_centre_answers(centre, cell):
    assert cells_of(target([*centre, 0.9, 0.9])) == [cell]


def test_a_cell_is_to_say_where_in_it_and_how_large_and_what():
    t = target([0.5, 0.25, 0.36, 0.09], [0.9, 0.9, 0.04, 0.01], labels=[1, 0], grid=4)
    np.testing.assert_allclose(t[1, 2], [0, 0, 0.6, 0.3, 1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(t[3, 3], [0.6, 0.6, 0.2, 0.1, 1, 1, 0], atol=1e-6)
    assert np.count_nonzero(t) == 4 + 6


def test_of_several_in_one_cell_the_first_is_kept_and_absent_ones_are_nowhere():
    twice = [[0.5, 0.5, 0.1, 0.1], [0.52, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]
    t = target(*twice, labels=[1, 0, 0])
    assert cells_of(t) == [[0, 0], [3, 3]]
    assert t[3, 3, 5:].tolist() == [0, 1]
    t = target(*twice, labels=[1, 0, 0], present=[False, True, False])
    assert cells_of(t) == [[3, 3]]
    assert t[3, 3, 5:].tolist() == [1, 0]


def test_boxes_of_the_targets_are_the_boxes():
    random = np.random.default_rng(0)
    boxes = jnp.asarray(random.uniform(0.05, 0.95, (5, 3, 4)), jnp.float32)
    labels = jnp.asarray(random.integers(0, 3, (5, 3)))
    targets = jax.vmap(lambda box, label: yolo_targets(box, label, grid=20, classes=3))(boxes, labels)
    found, scores = yolo_boxes(targets, classes=3)
    assert found.shape == (5, 20, 20, 1, 4)
    for i in range(5):
        there = np.asarray(targets[i, ..., 4]) == 1
        got = np.concatenate([found[i][there][:, 0], scores[i][there][:, 0]], axis=1)
        wanted = np.concatenate([boxes[i], np.eye(3)[labels[i]]], axis=1)
        np.testing.assert_allclose(got[got[:, 0].argsort()], wanted[wanted[:, 0].argsort()], rtol=1e-5, atol=1e-6)


def by_loops(predictions, targets, place, empty):
    """The paper's sums, cell by cell and box by box."""
    n, s = (predictions.shape[-1] - targets.shape[-1]) // 5 + 1, targets.shape[0]
    total = 0.0
    for row in range(s):
        for column in range(s):
            p, t = predictions[row, column], targets[row, column]
            boxes = [p[5 * b : 5 * b + 5] for b in range(n)]

            def edges(x, y, w, h, column=column, row=row):
                x, y = (x + column) / s, (y + row) / s
                return x - w * w / 2, y - h * h / 2, x + w * w / 2, y + h * h / 2

            def overlap(box, t=t):
                (a, b, c, d), (e, f, g, h) = edges(*box[:4]), edges(*t[:4])
                both = max(min(c, g) - max(a, e), 0) * max(min(d, h) - max(b, f), 0)
                return both / ((c - a) * (d - b) + (g - e) * (h - f) - both)

            best = max(range(n), key=lambda b: overlap(boxes[b])) if t[4] else None
            for b, box in enumerate(boxes):
                if b == best:
                    total += place * sum((box[:4] - t[:4]) ** 2) + (box[4] - 1) ** 2
                else:
                    total += empty * box[4] ** 2
            total += t[4] * sum((p[5 * n :] - t[5:]) ** 2)
    return total


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_loss_is_the_sum_over_cells_and_boxes(n, x64):
    random = np.random.default_rng(n)
    predictions, targets = random.uniform(0.1, 0.9, (4, 3, 3, 5 * n + 2)), random.uniform(0.1, 0.9, (4, 3, 3, 7))
    targets[..., 4] = random.integers(0, 2, (4, 3, 3))
    losses = nn.losses.yolo_loss(jnp.asarray(predictions), jnp.asarray(targets), place=3.0, empty=0.2)
    expected = [by_loops(p, t, 3.0, 0.2) for p, t in zip(predictions, targets, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_only_the_box_that_overlaps_most_learns_where_the_object_is(x64):
    wanted = target([0.5, 0.5, 0.25, 0.25], grid=1, classes=0)[None].astype(float)
    near, far = [0.4, 0.5, 0.5, 0.5, 0.3], [0.9, 0.9, 0.5, 0.5, 0.3]
    for boxes, ours in (([near, far], 0), ([far, near], 1)):
        _, residuals = nn.losses.yolo_loss.fwd(jnp.array(boxes).reshape(1, 1, 1, 10), wanted)
        d = nn.losses.yolo_loss.bwd(residuals, jnp.ones(1))[0].reshape(2, 5)
        np.testing.assert_allclose(d[ours], [5 * 2 * -0.1, 0, 0, 0, 2 * (0.3 - 1)], atol=1e-12)
        np.testing.assert_allclose(d[1 - ours], [0, 0, 0, 0, 0.5 * 2 * 0.3], atol=1e-12)


def test_boxes_without_area_overlap_nothing_and_leave_finite_gradients():
    zeros = jnp.zeros((1, 2, 2, 12))
    l, residuals = nn.losses.yolo_loss.fwd(zeros, jnp.zeros((1, 2, 2, 7)).at[..., 4].set(1))
    assert l.tolist() == [4]
    assert all(jnp.isfinite(d).all() for d in nn.losses.yolo_loss.bwd(residuals, l))


@pytest.mark.parametrize(("numbers", "wanted"), [(11, 7), (2, 7), (9, 4)])
def test_predictions_that_are_no_boxes_are_refused(numbers, wanted):
    expected = (
        r"expected predictions \(batch, grid, grid, boxes \* 5 \+ classes\) and targets \(batch, grid, grid, 5 \+ "
        r"classes\), because a cell predicts boxes of 5 numbers and a score a class, and is to find one box; got "
        rf"predictions \(1, 3, 3, {numbers}\), targets \(1, 3, 3, {wanted}\)"
    )
    with pytest.raises(nn.ShapeError, match=expected):
        nn.losses.yolo_loss(jnp.zeros((1, 3, 3, numbers)), jnp.zeros((1, 3, 3, wanted)))


@pytest.mark.usefixtures("unannotated")
def test_shapes_that_are_no_objects_are_refused():
    with pytest.raises(nn.ShapeError, match=r"expected boxes of shape \(3, 4\), because labels are \(3,\), and a box"):
        yolo_targets(jnp.zeros((2, 4)), jnp.zeros(3, int), grid=7, classes=2)
    with pytest.raises(nn.ShapeError, match=r"expected predictions \(\.\.\., grid, grid, boxes \* 5 \+ 3\), because"):
        yolo_boxes(jnp.zeros((1, 7, 7, 12)), classes=3)
