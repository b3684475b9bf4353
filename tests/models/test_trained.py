"""Every model that no example trains learns what it is for, by hand, on digits or on pictures made here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import models

pytestmark = pytest.mark.slow


def trained(model, loss, data, *, epochs, batch_size=32, learning_rate=3e-3):
    """What a model, trained on the strict road, says of an input."""
    steps = epochs * -(-data.examples // batch_size)
    optimizer = nn.adam(nn.cosine_decay_schedule(learning_rate, steps))
    trainer = nn.trainer(model, loss, optimizer, gradient=functools.partial(nn.by_hand, strict=True))
    ts = jax.jit(trainer.init)(jax.random.key(0), data.x)
    ts, _ = nn.fit(trainer, ts, data, epochs=epochs, batch_size=batch_size)
    return lambda x: np.asarray(jax.jit(trainer.predict)(ts, x))


def images(data):
    return data._replace(x=data.x.reshape(-1, 8, 8, 1))


@pytest.mark.parametrize(
    ("model", "epochs", "of", "expected"),
    [
        (models.mlp((64, 10)), 20, lambda data: data, 0.96),
        (models.convnet(10, features=(16, 32)), 12, images, 0.97),
        (models.resnet(10, blocks=2, features=8), 5, images, 0.96),
    ],
    ids=["mlp", "convnet", "resnet"],
)
def test_digits_are_read(model, epochs, of, expected):
    train, test = map(of, nn.data.digits())
    logits = trained(model, nn.losses.cross_entropy, train, epochs=epochs)(test.x)
    assert np.mean(logits.argmax(-1) == test.y) >= expected


def test_ETC_4_an_autoencoder_of_8_numbers_keeps_more_than_12_principal_components():
    train, test = (data.x for data in nn.data.digits())
    read = trained(models.autoencoder(64, 64, 8), nn.losses.binary_cross_entropy, nn.Data(train, train), epochs=60)
    error = np.mean((1 / (1 + np.exp(-read(test))) - test) ** 2)

    def of_principal_components(k):
        mean = train.mean(axis=0)
        axes = np.linalg.svd(train - mean, full_matrices=False)[2][:k]
        return np.mean((mean + (test - mean) @ axes.T @ axes - test) ** 2)

    assert error < of_principal_components(12) < 0.7 * of_principal_components(8)


def brackets(n, seed, longest=16):
    """As many opening brackets as closing ones, of several lengths; and whether none closes before it was opened."""
    random = np.random.default_rng(seed)
    lengths, nested = 2 * random.integers(2, longest // 2 + 1, n), np.arange(n) % 2
    tokens = np.zeros((n, longest), np.int32)
    for row, length, wanted in zip(tokens, lengths, nested, strict=True):
        closing = random.permutation(length) % 2
        while (np.cumsum(1 - 2 * closing).min() >= 0) != wanted:
            closing = random.permutation(length) % 2
        row[:length] = closing
    return nn.Data(nn.Sequences(tokens, lengths.astype(np.int32)), nested.astype(np.int32))


def test_an_lstm_tells_brackets_that_match_from_those_that_do_not():
    train, test = brackets(1024, 0), brackets(256, 1)
    model = models.lstm_classifier(2, 2, width=4, units=24)
    logits = trained(model, nn.losses.cross_entropy, train, epochs=12, learning_rate=1e-2)(test.x)
    assert np.mean(logits.argmax(-1) == test.y) >= 0.97


SIDE = 24
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def discs(n, seed):
    """On noise a disc and a square of one brightness and area, and which pixels are of the disc."""
    random = np.random.default_rng(seed)

    def inside(of):
        size, (column, row) = random.uniform(3, 5, (n, 1, 1)), random.uniform(5, SIDE - 5, (2, n, 1, 1))
        return of(np.abs(ROWS - row), np.abs(COLUMNS - column), size)

    disc = inside(lambda dy, dx, size: dx**2 + dy**2 < size**2)
    square = inside(lambda dy, dx, size: np.maximum(dx, dy) < size * np.sqrt(np.pi) / 2)
    x = 0.7 * (disc | square) + 0.15 * random.normal(size=(n, SIDE, SIDE))
    return nn.Data(*(a[..., None].astype(np.float32) for a in (x, disc)))


def of_both(found, wanted):
    """Intersection over union of two masks."""
    return (found & wanted).sum() / (found | wanted).sum()


def test_the_u_tells_discs_from_squares():
    """By brightness alone, half of what is found would be squares."""
    train, test = discs(192, 0), discs(64, 1)
    model = models.unet_small(1, features=8)
    logits = trained(model, nn.losses.binary_cross_entropy, train, epochs=12, batch_size=16, learning_rate=1e-2)(test.x)
    assert of_both(logits > 0, test.y > 0) > 0.8
    assert of_both(test.x > 0.35, test.y > 0) < 0.6


def rectangles(n, seed):
    """On noise a rectangle, filled or not; its box, in parts of the picture, and which of the two it is."""
    random = np.random.default_rng(seed)
    size = random.integers(5, 12, (n, 2))
    low, kind = random.integers(0, SIDE - size), random.integers(0, 2, n)

    def within(margin):
        (x0, y0), (x1, y1) = (low + margin).T[..., None, None], (low + size - margin).T[..., None, None]
        return (x0 <= COLUMNS) & (x1 > COLUMNS) & (y0 <= ROWS) & (y1 > ROWS)

    shape = np.where(kind[:, None, None] == 1, within(0) & ~within(2), within(0))
    x = shape + 0.1 * random.normal(size=(n, SIDE, SIDE))
    return x[..., None].astype(np.float32), np.concatenate([low + size / 2, size], axis=1) / SIDE, kind


def overlaps(a, b):
    """Intersection over union of boxes (x, y, w, h), pair by pair."""
    low = np.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = np.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    both = np.maximum(high - low, 0).prod(axis=1)
    return both / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - both)


def test_CNN_10_a_detector_finds_the_rectangle_and_says_which_it_is():
    def block(features):
        return nn.serial(nn.Conv(features, (3, 3), bias=False), nn.BatchNorm(decay=0.9), nn.relu)

    pool = nn.MaxPool((2, 2))
    trunk = nn.serial(block(8), pool, block(16), pool, block(32), pool, block(32))
    model = nn.serial(trunk=trunk, head=models.yolo_head(3, 2, 2))
    (x, boxes, kinds), (test_x, test_boxes, test_kinds) = rectangles(1024, 0), rectangles(128, 1)
    of_one = lambda box, kind: models.yolo_targets(box[None], kind[None], grid=3, classes=2)
    targets = jax.jit(jax.vmap(of_one))(boxes.astype(np.float32), kinds)
    head = trained(model, nn.losses.yolo_loss, nn.Data(x, np.asarray(targets)), epochs=15, learning_rate=5e-3)

    found, scores = (np.asarray(a) for a in models.yolo_boxes(jnp.asarray(head(test_x)), classes=2))
    found, scores = found.reshape(128, -1, 4), scores.reshape(128, -1, 2)
    surest = scores.max(axis=-1).argmax(axis=-1)[:, None, None]
    overlap = overlaps(np.take_along_axis(found, surest, 1)[:, 0], test_boxes)
    assert overlap.mean() > 0.7
    assert np.mean(overlap > 0.5) > 0.9
    assert np.mean(np.take_along_axis(scores, surest, 1)[:, 0].argmax(axis=-1) == test_kinds) > 0.95
