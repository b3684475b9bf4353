"""Recurrent layers: a cell that is run over sequences, from their first step to their last or back."""

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp

from jaxnn.errors import ShapeError
from jaxnn.initializers import Initializer, glorot_uniform, orthogonal, zeros
from jaxnn.layers._layer import Layer, check_names, parameter_dtype
from jaxnn.ops import Op, gru, lstm, rnn
from jaxnn.ops._settings import static
from jaxnn.typing import Array, Key, Sequences, accumulator_dtype


class Recurrent(Layer):
    """A cell over time: what `RNN`, `LSTM` and `GRU` have in common.

    x is `(batch, time, in)`, and so then is y, `(batch, time, features)`; or `Sequences` of such an x. Then the lengths
    hold, a `begin` is the carry with which it begins, which it takes away, and `end` is the carry with which it ends.

    A subclass states its `op`, which takes x, `carries`, `arrays` and lengths in this order, and how many `gates` have
    their weights side by side.
    """

    op: ClassVar[Op]
    carries: ClassVar[tuple[str, ...]] = ("h",)
    arrays: ClassVar[tuple[str, ...]] = ("w_x", "w_h", "b")
    gates: ClassVar[int] = 1

    features: int
    reverse: bool
    checkpoint: int | None
    stateful: bool
    w_x_init: Initializer
    w_h_init: Initializer

    def __post_init__(self) -> None:
        for setting in fields(self):  # pyright: ignore[reportArgumentType]
            object.__setattr__(self, setting.name, static(getattr(self, setting.name)))
        if self.stateful and self.reverse:
            raise ValueError("expected stateful=False, because what runs backwards begins at the end of a sequence, "
                             "which does not go on; got stateful=True with reverse=True")  # fmt: skip

    @abstractmethod
    def init_biases(self, key: Key, dtype: Any) -> dict[str, Array]:
        """Draw the parameters that are no weights."""

    def init(self, key, x):
        x = x.x if isinstance(x, Sequences) else x
        if len(x.shape) != 3:
            raise ShapeError(
                "x of shape (batch, time, in)",
                why="it is run over time",
                got=tuple(x.shape),
                hint="a single feature is an axis too: x[..., None]" if len(x.shape) == 2 else None,
            )
        batch, _, features = x.shape
        dtype = parameter_dtype(x)
        w_x_key, w_h_key, b_key = jax.random.split(key, 3)

        def gate_by_gate(init, key, rows):
            keys = jax.random.split(key, self.gates)
            return jnp.concatenate([init(key, (rows, self.features), dtype) for key in keys], axis=-1)

        params = {
            "w_x": gate_by_gate(self.w_x_init, w_x_key, features),
            "w_h": gate_by_gate(self.w_h_init, w_h_key, self.features),
            **self.init_biases(b_key, dtype),
        }
        return params, self._zeros(batch, dtype) if self.stateful else {}

    def apply(self, params, state, x, *, key=None, train=False):
        del key, train
        y, end = self.op(*self._arrays(params, state, x), **self._settings)
        return self._put_out(state, x, y, end)

    def fwd(self, params, state, x, *, key=None, train=False):
        del key, train
        (y, end), residuals = self.op.fwd(*self._arrays(params, state, x), **self._settings)
        begun = isinstance(x, Sequences) and x.begin is not None
        return self._put_out(state, x, y, end), {"begun" if begun else "from_zeros": residuals}

    def bwd(self, residuals, dy):
        ((whence, residuals),) = residuals.items()
        d_out = (dy.x, dy.end) if isinstance(dy, Sequences) else (dy, None)
        dx, *d_arrays, _ = self.op.bwd(residuals, d_out, **self._settings)
        d_begin, d_params = d_arrays[: len(self.carries)], d_arrays[len(self.carries) :]
        if isinstance(dy, Sequences):
            dx = Sequences(dx, begin=_as_carry(d_begin) if whence == "begun" else None)
        return {name: d for name, d in zip(self.arrays, d_params, strict=True) if d is not None}, dx

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters with these settings."""
        return self.arrays

    @property
    def _settings(self):
        return {"reverse": self.reverse, "checkpoint": self.checkpoint}

    def _zeros(self, batch, dtype):
        return {name: jnp.zeros((batch, self.features), accumulator_dtype(dtype)) for name in self.carries}

    def _arrays(self, params, state, x):
        """What the op takes."""
        check_names(self, params, self.parameters)
        x, lengths, begin, _ = x if isinstance(x, Sequences) else Sequences(x)
        if self.stateful:
            begin = self._from_state(state, x, begin)
        elif begin is None:
            begin = tuple(self._zeros(x.shape[0], x.dtype).values())
        elif len(self.carries) == 1:
            begin = (begin,)
        elif not isinstance(begin, tuple) or len(begin) != len(self.carries):
            raise TypeError(f"expected begin as a tuple ({', '.join(self.carries)}), because that is the carry of "
                            f"{self!r}; got {type(begin).__name__}")  # fmt: skip
        return x, *begin, *(params.get(name) for name in self.arrays), lengths

    def _from_state(self, state, x, begin):
        if begin is not None:
            raise ValueError(f"expected no begin, because {self!r} begins where it has ended before; got one")
        carry = tuple(state[name] for name in self.carries)
        batch = carry[0].shape[0]
        if x.shape[0] != batch:
            raise ShapeError(
                f"x of shape ({batch}, time, in)",
                why=f"the carry in the state is {tuple(carry[0].shape)}, of the batch for which it was initialised",
                got=tuple(x.shape),
                hint="initialise the state anew for other sequences",
            )
        return carry

    def _put_out(self, state, x, y, end):
        if isinstance(x, Sequences):
            y = Sequences(y, x.lengths, end=end)
        ends = end if isinstance(end, tuple) else (end,)
        return y, dict(zip(self.carries, ends, strict=True)) if self.stateful else state


def _as_carry(parts):
    """The carry as the op puts it out: one array as it is, several as a tuple."""
    return parts[0] if len(parts) == 1 else tuple(parts)


@final
@dataclass(frozen=True, repr=False)
class RNN(Recurrent):
    """Elman's recurrent layer, h_t = tanh(x_t w_x + h_(t-1) w_h + b) and y_t = h_t: see `ops.rnn`.

    x is `(batch, time, in)`, y `(batch, time, features)`; of `Sequences`, `Sequences`, with h as carry. Its gradient
    fades or grows with every step that it goes back: `LSTM` and `GRU` were made to remember.

    Parameters: `w_x`, `(in, features)`; `w_h`, `(features, features)`; `b`, `(features,)`. State: `h`,
    `(batch, features)`, in float32 at least, if it is stateful.

    Attributes:
        features: Numbers of h.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only the h before each chunk is remembered, and the rest is computed again.
        stateful: Whether each call begins with the h with which the one before it ended, as if they were one long
            sequence. The gradient of a call goes back to its own first step.
        w_x_init: Initialiser of w_x: glorot_uniform as in Keras; PyTorch draws all from U(-1/sqrt(features),
            1/sqrt(features)).
        w_h_init: Initialiser of w_h: orthogonal as in Keras and flax.
        b_init: Initialiser of b.

    Raises:
        ShapeError: The input has other features than it was initialised for, or a carry is of another batch size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.RNN(8, stateful=True), jax.random.normal(jax.random.key(1), (2, 6, 3))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> whole, _ = layer.apply(params, state, x)
    >>> first, state = layer.apply(params, state, x[:, :4])
    >>> then, state = layer.apply(params, state, x[:, 4:])
    >>> jnp.allclose(jnp.concatenate([first, then], axis=1), whole, atol=1e-6)
    Array(True, dtype=bool)

    Source: Elman, "Finding structure in time" (1990), with tanh.
    """

    features: int
    _: KW_ONLY
    reverse: bool = False
    checkpoint: int | None = None
    stateful: bool = False
    w_x_init: Initializer = glorot_uniform()  # noqa: RUF009 - a frozen value
    w_h_init: Initializer = orthogonal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = rnn

    def init_biases(self, key, dtype):
        return {"b": self.b_init(key, (self.features,), dtype)}


@final
@dataclass(frozen=True, repr=False)
class LSTM(Recurrent):
    """Long short-term memory, c_t = f c_(t-1) + i g and y_t = h_t = o tanh(c_t): see `ops.lstm`.

    x is `(batch, time, in)`, y `(batch, time, features)`; of `Sequences`, `Sequences`, with (h, c) as carry. With f
    near 1 what is in c stays there, and so does its gradient.

    Parameters: `w_x`, `(in, 4 features)`; `w_h`, `(features, 4 features)`; `b`, `(4 features,)`; in the order
    i, f, g, o of PyTorch, flax and Keras: `ops.lstm` says how weights from there are carried over. State: `h` and `c`,
    `(batch, features)`, in float32 at least, if it is stateful.

    Attributes:
        features: Numbers of h and of c.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only h and c before each chunk are remembered, and the rest is computed
            again.
        stateful: Whether each call begins with the carry with which the one before it ended, as if they were one long
            sequence. The gradient of a call goes back to its own first step.
        forget_bias: What is added to the initial bias of the gate f: 1, as in Keras, so that it begins by remembering.
            flax has 0; Haiku adds 1 in the gate itself, with a bias of 0; PyTorch has two biases, both drawn from
            U(-1/sqrt(features), 1/sqrt(features)), as are its weights.
        w_x_init: Initialiser of w_x, of each gate by itself as in flax, which has lecun_normal; Keras has
            glorot_uniform of all four together.
        w_h_init: Initialiser of w_h, of each gate by itself as in flax; Keras has orthogonal of all four together.
        b_init: Initialiser of b.

    Raises:
        ShapeError: The input has other features than it was initialised for, or a carry is of another batch size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> words = nn.Sequences(jnp.ones((2, 5, 3)), lengths=jnp.array([5, 2]))
    >>> model = nn.serial(nn.LSTM(8), nn.LSTM(4), nn.last, nn.Dense(1))
    >>> params, state = model.init(jax.random.key(0), words)
    >>> params["lstm_0"]["w_x"].shape, params["lstm_1"]["w_h"].shape
    ((3, 32), (4, 16))
    >>> model.apply(params, state, words)[0].shape
    (2, 1)

    Source: Hochreiter and Schmidhuber, "Long short-term memory" (1997); the gate f, Gers, Schmidhuber and Cummins,
    "Learning to forget" (2000); its bias, Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent
    network architectures" (2015).
    """

    features: int
    _: KW_ONLY
    reverse: bool = False
    checkpoint: int | None = None
    stateful: bool = False
    forget_bias: float = 1.0
    w_x_init: Initializer = glorot_uniform()  # noqa: RUF009 - a frozen value
    w_h_init: Initializer = orthogonal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = lstm
    carries: ClassVar[tuple[str, ...]] = ("h", "c")
    gates: ClassVar[int] = 4

    def init_biases(self, key, dtype):
        i, f, g, o = jnp.split(self.b_init(key, (4 * self.features,), dtype), 4)
        return {"b": jnp.concatenate([i, f + jnp.asarray(self.forget_bias, dtype), g, o])}


@final
@dataclass(frozen=True, repr=False)
class GRU(Recurrent):
    """Gated recurrent unit, y_t = h_t = (1 - z) n + z h_(t-1): see `ops.gru`.

    x is `(batch, time, in)`, y `(batch, time, features)`; of `Sequences`, `Sequences`, with h as carry. Where z is near
    1 h stays as it is.

    Parameters: `w_x`, `(in, 3 features)`; `w_h`, `(features, 3 features)`; `b`, `(3 features,)`; in the order r, z, n
    of PyTorch and flax, with `b_hn`, `(features,)`, if there is a recurrent bias; Keras has z, r, n. `ops.gru` says how
    weights from there are carried over. State: `h`, `(batch, features)`, in float32 at least, if it is stateful.

    Attributes:
        features: Numbers of h.
        reverse: Whether to run from the last step of each sequence to its first.
        checkpoint: Steps of a chunk. Then only the h before each chunk is remembered, and the rest is computed again.
        stateful: Whether each call begins with the h with which the one before it ended, as if they were one long
            sequence. The gradient of a call goes back to its own first step.
        recurrent_bias: Whether there is a b_hn beside b, as in flax, PyTorch and Keras; for r and z a second one would
            do nothing.
        w_x_init: Initialiser of w_x, of each gate by itself as in flax, which has lecun_normal; Keras has
            glorot_uniform of all three together.
        w_h_init: Initialiser of w_h, of each gate by itself as in flax; Keras has orthogonal of all three together.
        b_init: Initialiser of b and b_hn.

    Raises:
        ShapeError: The input has other features than it was initialised for, or a carry is of another batch size.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, state = nn.GRU(4).init(jax.random.key(0), jnp.zeros((2, 5, 3)))
    >>> nn.tree.count(params)  # 3 (4 (4 + 3) + 4)
    96

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation"
    (2014).
    """

    features: int
    _: KW_ONLY
    reverse: bool = False
    checkpoint: int | None = None
    stateful: bool = False
    recurrent_bias: bool = False
    w_x_init: Initializer = glorot_uniform()  # noqa: RUF009 - a frozen value
    w_h_init: Initializer = orthogonal()  # noqa: RUF009 - a frozen value
    b_init: Initializer = zeros

    op: ClassVar[Op] = gru
    arrays: ClassVar[tuple[str, ...]] = ("w_x", "w_h", "b", "b_hn")
    gates: ClassVar[int] = 3

    def init_biases(self, key, dtype):
        b_key, b_hn_key = jax.random.split(key)
        biases = {"b": self.b_init(b_key, (3 * self.features,), dtype)}
        if self.recurrent_bias:
            biases["b_hn"] = self.b_init(b_hn_key, (self.features,), dtype)
        return biases

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.arrays if self.recurrent_bias else self.arrays[:3]
