"""Rosenblatt's perceptron: one layer of step units, its rule of learning, and what comes of it.

Dimensions: `batch` examples, `in` features, `units` outputs.
"""

from typing import NamedTuple, final

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.initializers import zeros
from jaxnn.layers import Dense, Layer, serial
from jaxnn.losses import half_squared_error
from jaxnn.ops import step
from jaxnn.optim import sgd
from jaxnn.training import Trainer, TrainState, trainer
from jaxnn.typing import Array, Data, Params, Scalar


def perceptron(units: int = 1) -> Layer:
    """A layer of step units, y = 1 if x w + b > 0 else 0, the only layer that learns.

    An artificial neuron is the wider notion: a weighted sum and any activation. With a step it is a perceptron, and
    with no activation a linear unit. At exactly 0 it does not fire; b is the threshold with its sign turned, so there
    is no other. Both begin at 0.

    The step's backward hands the error through as it is, for its own derivative is 0 everywhere. With half the
    squared error that makes gradient descent the perceptron's rule: see `perceptron_trainer`.

    Shapes: `(batch, in)` to `(batch, units)`.

    Args:
        units: How many, each of which learns by itself.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> points = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> both = {"dense_0": {"w": jnp.array([[1.0], [1.0]]), "b": jnp.array([-1.5])}}
    >>> nn.models.perceptron().apply(both, {}, points)[0][:, 0]
    Array([0., 0., 0., 1.], dtype=float32)

    Source: Rosenblatt, "The perceptron" (1958); McCulloch and Pitts (1943) for the unit.
    """
    return serial(Dense(units, w_init=zeros), step.bind(surrogate="straight_through"))


def perceptron_trainer(learning_rate: Scalar = 1.0) -> Trainer:
    """The perceptron's rule, w <- w + eta (y - y^) x and b <- b + eta (y - y^), as a trainer.

    It is gradient descent, on either road, once the step hands the error through: half the squared error has the
    derivative y^ - y, and a weight's is that times its input. A batch of one example is the rule as it is written; a
    larger one takes the mean. As weights begin at 0, eta scales them and changes no answer.

    Args:
        learning_rate: eta.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> t, x = nn.models.perceptron_trainer(0.5), jnp.array([[3.0, -1.0]])
    >>> ts, info = t.step(t.init(jax.random.key(0), x), nn.Data(x, jnp.array([[1.0]])))
    >>> ts.params["dense_0"]["w"][:, 0], ts.params["dense_0"]["b"]  # it did not fire, and should have
    (Array([ 1.5, -0.5], dtype=float32), Array([0.5], dtype=float32))

    Source: Rosenblatt, "The perceptron" (1958).
    """
    return trainer(perceptron(), half_squared_error, sgd(learning_rate))


@final
class Separation(NamedTuple):
    """What came of looking for a line, as `separate` reports it; printed, a sentence.

    >>> print(Separation(jnp.array([2, 1, 0]), jnp.array(1.0), jnp.array(True), jnp.array(0)))
    separated after 3 mistakes in 2 epochs
    """

    mistakes: Array  # examples that were answered wrongly in each epoch, while weights moved: (epochs,), int32
    accuracy: Array  # the best, on all examples, of all weights on the way
    separated: Array  # whether the last epoch was without a mistake
    period: Array  # if not: after how many epochs the last weights came back; 0 if they did not

    def __str__(self) -> str:
        count = lambda n, what: f"{n} {what}" if n == 1 else f"{n} {what}s"
        mistakes, period = count(int(self.mistakes.sum()), "mistake"), int(self.period)
        best = f"the best weights on the way answer {100 * float(self.accuracy):.1f}%"
        if self.separated:
            return f"separated after {mistakes} in {count(int((self.mistakes > 0).sum()), 'epoch')}"
        if period:
            return f"not separable: the weights repeat after {count(period, 'epoch')}; {best}"
        return f"not separated after {mistakes} in {count(len(self.mistakes), 'epoch')}; {best}"


def separate(trainer: Trainer, train_state: TrainState, data: Data, *, epochs: int) -> tuple[TrainState, Separation]:
    """Learn one example at a time, always in the same order, and say whether a line separates the classes.

    If one does, an epoch without a mistake comes, and the weights rest: see `mistake_bound`. If none does, none comes,
    but the weights stay bounded (the cycling theorem). Where they come back to what they were after an earlier epoch,
    the same mistakes follow for ever; so for examples and a rate that floats hold exactly, such as integers and 1, a
    `period` proves that no line separates them.

    Args:
        trainer: Of `perceptron_trainer`.
        train_state: Where to begin.
        data: x, `(batch, in)`, and y, `(batch, units)`, 0 or 1.
        epochs: How many passes over the data. It is a pure function, whose length must be known.

    Returns:
        The last train state, and a `Separation`, whose accuracy is that of the best weights after any example.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> t, x = nn.models.perceptron_trainer(), jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    >>> ts = t.init(jax.random.key(0), x)
    >>> print(nn.models.separate(t, ts, nn.Data(x, jnp.array([[0.0], [1.0], [0.0], [0.0]])), epochs=20)[1])  # AND
    separated after 12 mistakes in 5 epochs
    >>> print(nn.models.separate(t, ts, nn.Data(x, jnp.array([[0.0], [0.0], [1.0], [1.0]])), epochs=20)[1])  # XOR
    not separable: the weights repeat after 1 epoch; the best weights on the way answer 75.0%

    Source: Rosenblatt, "The perceptron" (1958); Minsky and Papert, "Perceptrons" (1969), for what no line separates;
    Block and Levin, "On the boundedness of an iterative procedure for solving a system of linear inequalities" (1970);
    the best on the way is kept as by Gallant, "Perceptron-based learning algorithms" (1990).
    """
    data = data.on_device()
    one_at_a_time = jax.tree.map(lambda a: a[:, None], data)

    def example(ts, one):
        ts, info = trainer.step(ts, one)
        right = (trainer.predict(ts, data.x) == data.y).all(axis=-1).mean()
        return ts, ((info.prediction != one.y).any(), right)

    def epoch(ts, _):
        ts, (wrong, right) = lax.scan(example, ts, one_at_a_time)
        return ts, (wrong.sum(dtype=jnp.int32), right.max(), ts.params)

    last, (mistakes, accuracy, after) = lax.scan(epoch, train_state, length=epochs)
    same = [(a[:-1] == a[-1:]).all(axis=tuple(range(1, a.ndim))) for a in jax.tree.leaves(after)]
    ago = jnp.where(jnp.stack(same).all(axis=0), epochs - 1 - jnp.arange(epochs - 1), epochs)
    period, separated = ago.min(initial=epochs), mistakes[-1] == 0
    period = jnp.where(separated | (period == epochs), 0, period)
    return last, Separation(mistakes, accuracy.max(), separated, period)


def mistake_bound(params: Params, data: Data) -> Array:
    """How many mistakes a perceptron makes at most, (R / gamma)^2, if these parameters separate the data.

    R is the length of the longest (x, 1), and gamma the least margin of any example, its distance from the line
    in these coordinates: min +-(x w + b) / |(w, b)|, with + where y is 1. Any separating line gives a bound on
    what `perceptron_trainer` does from weights of 0, in any order and at any rate.

    Args:
        params: Of a perceptron with one unit.
        data: x, `(batch, in)`, and y, `(batch, 1)`, 0 or 1.

    Returns:
        A number; infinity if the parameters leave no margin.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> data = nn.Data(jnp.array([[2.0], [-2.0]]), jnp.array([[1.0], [0.0]]))
    >>> nn.models.mistake_bound({"dense_0": {"w": jnp.array([[1.0]]), "b": jnp.array([0.0])}}, data)
    Array(1.25, dtype=float32)

    Source: Novikoff, "On convergence proofs on perceptrons" (1962).
    """
    w, b = params["dense_0"]["w"][:, 0], params["dense_0"]["b"]
    x, sign = jnp.asarray(data.x), 2 * jnp.asarray(data.y)[:, 0] - 1
    gamma = (sign * (x @ w + b)).min() / jnp.sqrt((w * w).sum() + b[0] * b[0])
    r = jnp.sqrt((x * x).sum(axis=1) + 1).max()
    return jnp.where(gamma > 0, (r / gamma) ** 2, jnp.inf)
