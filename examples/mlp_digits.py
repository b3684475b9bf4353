"""Does a small network, trained in one compiled program, learn to read handwritten digits?

Question   64-256-10 with relu, Adam from 2e-3 down a cosine, 40 epochs of batches of 32, on scikit-learn's 1797
           digits of 8 x 8.
Command    python examples/mlp_digits.py
Hardware   any CPU: a few seconds, nearly all of them compilation.
Expected   at least 97% of the 360 test digits are right; the two roads to the gradient agree to 1e-10; the
           curves of loss and accuracy are in digits.png.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp

import jaxnn as nn


def main(
    *,
    epochs: int = 40,
    batch_size: int = 32,
    hidden: int = 256,
    learning_rate: float = 2e-3,
    seed: int = 0,
    by_hand: bool = False,
    picture: str | None = "digits.png",
) -> float:
    """Train, compare the two roads, draw the curves; return the accuracy on the test set."""
    train, test = nn.data.digits()
    model = nn.serial(nn.Dense(hidden, w_init=nn.initializers.he_normal()), nn.relu, nn.Dense(10))
    steps = epochs * -(-train.examples // batch_size)
    optimizer = nn.adam(nn.cosine_decay_schedule(learning_rate, steps))
    road = nn.by_hand if by_hand else nn.by_autodiff
    trainer = nn.trainer(model, nn.losses.cross_entropy, optimizer, gradient=road)
    print(nn.summary(model, jax.ShapeDtypeStruct((batch_size, *train.x.shape[1:]), jnp.float32)), "\n")

    train_state = trainer.init(jax.random.key(seed), train.x)
    batch = train.take(jnp.arange(min(batch_size, train.examples)))
    print(nn.compare(model, nn.losses.cross_entropy, train_state, batch), "\n")

    train_state, history = nn.fit(
        trainer,
        train_state,
        train,
        epochs=epochs,
        batch_size=batch_size,
        validation=test,
        metrics=nn.metrics.accuracy,
    )
    print("epoch  loss    test loss  test accuracy")
    for epoch in sorted({*range(0, epochs, max(epochs // 8, 1)), epochs - 1}):
        loss, test_loss, accuracy = (
            float(history[name][epoch]) for name in ("loss", "validation_loss", "validation_accuracy")
        )
        print(f"{epoch + 1:5}  {loss:.4f}  {test_loss:9.4f}  {accuracy:13.4f}")

    if picture is not None:
        nn.plot.curves(history, title=f"Digits, 64-{hidden}-10").savefig(Path(picture), dpi=120)
        print(f"\ncurves: {picture}")
    accuracy = float(nn.evaluate(trainer, train_state, test, nn.metrics.accuracy))
    print(f"\naccuracy on {test.examples} test digits: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--by-hand", action="store_true", help="train by backpropagation written by hand")
    parser.add_argument("--picture", default="digits.png", help="where to write the curves")
    arguments = parser.parse_args()
    main(epochs=arguments.epochs, by_hand=arguments.by_hand, picture=arguments.picture)
