"""One row per op and layer of recurrence."""

import jax.numpy as jnp
import numpy as np

import jaxnn as nn
from cases._kinds import B, F, LayerCase, OpCase, absent, each, normal, sequences
from jaxnn.layers import as_layer

HIDDEN, TIME = 3, 5


def lengths(random, batch, dtype):
    """Lengths 3, 2, 1, 0, and then from time down again."""
    return jnp.asarray((3 - np.arange(batch)) % (TIME + 1), jnp.int32)


def recurrence_row(name, op, gates, carries, *, of=absent, bias=None, family="", **settings):
    """A row for a cell of so many gates and carries, over sequences of the lengths `of`."""
    weights = [normal(F, gates * HIDDEN), normal(HIDDEN, gates * HIDDEN), normal(gates * HIDDEN)]
    begin = [normal(B, HIDDEN)] * carries
    arrays = each(normal(B, TIME, F), *begin, *weights, *([] if bias is None else [bias]), of)
    return OpCase(name, op, arrays, settings, family=family, exact=False)


def rnn_row(name, **keywords):
    return recurrence_row(name, nn.ops.rnn, 1, 1, **keywords)


def lstm_row(name, **keywords):
    return recurrence_row(name, nn.ops.lstm, 4, 2, **keywords)


def gru_row(name, bias=absent, **keywords):
    return recurrence_row(name, nn.ops.gru, 3, 1, bias=bias, **keywords)


OPS = [
    rnn_row("rnn", family="rnn"),
    rnn_row("rnn_of_lengths_in_reverse", of=lengths, reverse=True, family="rnn_of_lengths"),
    rnn_row("rnn_in_chunks", of=lengths, checkpoint=2),
    lstm_row("lstm", family="lstm"),
    lstm_row("lstm_of_lengths", of=lengths, family="lstm_of_lengths"),
    lstm_row("lstm_of_lengths_in_reverse", of=lengths, reverse=True),
    lstm_row("lstm_in_chunks", checkpoint=2, family="lstm_in_chunks"),
    lstm_row("lstm_in_one_chunk", checkpoint=9),
    lstm_row("lstm_in_chunks_in_reverse", of=lengths, checkpoint=3, reverse=True),
    gru_row("gru", family="gru"),
    gru_row("gru_of_lengths_with_recurrent_bias", bias=normal(HIDDEN), of=lengths, family="gru_with_recurrent_bias"),
    gru_row("gru_in_reverse", reverse=True),
    gru_row("gru_in_chunks_in_reverse", bias=normal(HIDDEN), of=lengths, checkpoint=2, reverse=True),
    OpCase("last", nn.last, each(normal(B, TIME, F), absent)),
    OpCase("last_of_lengths", nn.last, each(normal(B, TIME, 2, F), lengths), family="last"),
    OpCase("mean_over_time", nn.mean_over_time, each(normal(B, TIME, F), absent)),
    OpCase("mean_over_time_of_lengths", nn.mean_over_time, each(normal(B, TIME, F), lengths), family="mean_over_time"),
]

STEPS = normal(B, TIME, F)


def begun(*carry):
    """`Sequences` that bring the carry with which the first recurrent layer begins."""

    def draw(random, batch, dtype):
        begin = tuple(normal(B, size)(random, batch, dtype) for size in carry)
        return sequences(STEPS)(random, batch, dtype)._replace(begin=begin if len(begin) > 1 else begin[0])

    return draw


LAYERS = [
    LayerCase("rnn", nn.RNN(F), STEPS),
    LayerCase("rnn_stateful", nn.RNN(HIDDEN, stateful=True), STEPS),
    LayerCase("rnn_begun", nn.RNN(HIDDEN), begun(HIDDEN)),
    LayerCase("lstm", nn.LSTM(F), STEPS),
    LayerCase("lstm_in_reverse", nn.LSTM(HIDDEN, reverse=True, checkpoint=2), STEPS),
    LayerCase("lstm_of_sequences", nn.LSTM(HIDDEN), sequences(STEPS)),
    LayerCase("lstm_begun", nn.LSTM(HIDDEN, checkpoint=3), begun(HIDDEN, HIDDEN)),
    LayerCase("lstm_stateful", nn.LSTM(HIDDEN, stateful=True), sequences(STEPS)),
    LayerCase("lstm_stacked", nn.serial(nn.LSTM(HIDDEN), nn.LSTM(2), nn.last, nn.Dense(2)), sequences(STEPS)),
    LayerCase("gru", nn.GRU(HIDDEN), STEPS),
    LayerCase("gru_with_recurrent_bias", nn.GRU(F, recurrent_bias=True), STEPS),
    LayerCase(
        "gru_stacked",
        nn.serial(nn.GRU(F), nn.each_step(nn.Dense(2)), nn.GRU(HIDDEN, reverse=True), nn.mean_over_time),
        begun(F),
    ),
    LayerCase("bidirectional", nn.bidirectional(nn.RNN(2)), STEPS),
    LayerCase("bidirectional_of_sequences", nn.bidirectional(nn.GRU(HIDDEN)), sequences(STEPS)),
    LayerCase(
        "bidirectional_stacked",
        nn.serial(nn.bidirectional(nn.LSTM(2)), nn.bidirectional(nn.LSTM(HIDDEN)), nn.mean_over_time),
        sequences(STEPS),
    ),
    LayerCase("last", as_layer(nn.last), STEPS),
    LayerCase("last_of_sequences", as_layer(nn.last), sequences(STEPS)),
    LayerCase("mean_over_time", as_layer(nn.mean_over_time), STEPS),
    LayerCase("mean_over_time_of_sequences", as_layer(nn.mean_over_time), sequences(STEPS)),
]
