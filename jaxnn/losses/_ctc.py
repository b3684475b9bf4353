"""Connectionist temporal classification: a loss of sequences whose labels are not aligned with them.

Dimensions: `batch` sequences, `time` frames, `classes` of a frame, `n` labels of a sequence, `n1` one more.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Integer, Num

from jaxnn.errors import ShapeError, values
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_sequences(
    logits: AnyArray,
    logit_paddings: AnyArray,
    labels: AnyArray,
    label_paddings: AnyArray,
    *,
    blank_id: int = 0,
    **_: Any,
) -> None:
    shapes = [tuple(a.shape) for a in (logits, logit_paddings, labels, label_paddings)]
    if (
        logits.ndim != 3
        or labels.ndim != 2
        or shapes[1] != shapes[0][:2]
        or shapes[3] != shapes[2]
        or shapes[2][0] != shapes[0][0]
    ):
        raise ShapeError(
            "logits (batch, time, classes) with paddings (batch, time), and labels (batch, n) with paddings (batch, n)",
            why="each frame and each label is there or is padding",
            got=", ".join(map(str, shapes)),
        )
    if logits.shape[1] == 0:
        raise ShapeError("at least one frame", why="something must be said in it", got=shapes[0])
    classes = logits.shape[-1]
    if not 0 <= blank_id < classes:
        raise ValueError(f"expected a blank_id from 0 to {classes - 1}, because it is a class; got {blank_id}")
    seen, padded = values(labels), values(label_paddings)
    if seen is not None and padded is not None:
        there = padded == 0
        if (np.diff(padded.astype(float), axis=1) < 0).any():
            raise ValueError(
                "expected labels that are padded at their end, because their number is taken for their length; "
                "got a label after padding"
            )
        if (there & ((seen < 0) | (seen >= classes) | (seen == blank_id))).any():
            raise ValueError(
                f"expected labels from 0 to {classes - 1} without the blank, {blank_id}, because logits are "
                f"{shapes[0]}, with the classes last; got labels from {seen[there].min()} to {seen[there].max()}"
            )


@op(_check_sequences)
def ctc_loss(
    logits: Float[Array, "batch time classes"],
    logit_paddings: Num[Array, "batch time"],
    labels: Integer[Array, "batch n"],
    label_paddings: Num[Array, "batch n"],
    *,
    blank_id: int = 0,
    log_epsilon: Scalar = -1e5,
) -> Float[Array, " batch"]:
    """Negative log-probability of the labels, l = -log sum over alignments of prod_t softmax(z_t)_(class at t).

    An alignment names a class for each frame, and reads as the labels once repetitions are merged and blanks then
    dropped. The sum over all of them is made in time times labels by a recursion, as in
    `ctc_loss_with_forward_probs`.

    Args:
        logits: z, `(batch, time, classes)`, any real numbers.
        logit_paddings: 1 for frames that are padding, else 0, `(batch, time)`; they have no derivative.
        labels: Integers, `(batch, n)`, without the blank.
        label_paddings: 1 for labels that are padding, at the end only, else 0, `(batch, n)`.
        blank_id: The class that stands for no label.
        log_epsilon: What is taken for log 0. Labels that do not fit into their frames cost about as much with its
            sign turned, where PyTorch says infinity.

    Returns:
        `(batch,)`. PyTorch's default divides each by its number of labels and takes the mean. Inside a compiled
        program a label that is no class gives NaN.

    Raises:
        ShapeError: The shapes do not belong together, or there is no frame.
        ValueError: A concrete label is out of range or the blank, or comes after padding.

    >>> z = jnp.log(jnp.array([[[0.3, 0.7], [0.4, 0.6]]]))  # "1" is said as 11, 01 or 10
    >>> loss = ctc_loss(z, jnp.zeros((1, 2)), jnp.array([[1]]), jnp.zeros((1, 1)))
    >>> jnp.exp(-loss).round(4)
    Array([0.88], dtype=float32)

    Source: Graves et al., "Connectionist temporal classification" (2006); the name and the value are optax's.
    """
    paddings = logit_paddings, labels, label_paddings
    return ctc_loss_with_forward_probs(logits, *paddings, blank_id=blank_id, log_epsilon=log_epsilon)[0]


def ctc_loss_fwd(logits, logit_paddings, labels, label_paddings, *, blank_id=0, log_epsilon=-1e5):
    """Remember what the recursion remembers."""
    paddings = logit_paddings, labels, label_paddings
    (l, *_), residuals = ctc_loss_with_forward_probs_fwd(logits, *paddings, blank_id=blank_id, log_epsilon=log_epsilon)
    return l, residuals


def ctc_loss_bwd(residuals, dl, *, blank_id=0, log_epsilon=-1e5):
    """The recursion backwards, with nothing asked of the forward probabilities."""
    _, _, (blank, label), *_ = residuals
    d_out = dl, jnp.zeros_like(blank), jnp.zeros_like(label)
    return ctc_loss_with_forward_probs_bwd(residuals, d_out, blank_id=blank_id, log_epsilon=log_epsilon)


ctc_loss.defvjp(ctc_loss_fwd, ctc_loss_bwd)


@op(_check_sequences)
def ctc_loss_with_forward_probs(
    logits: Float[Array, "batch time classes"],
    logit_paddings: Num[Array, "batch time"],
    labels: Integer[Array, "batch n"],
    label_paddings: Num[Array, "batch n"],
    *,
    blank_id: int = 0,
    log_epsilon: Scalar = -1e5,
) -> tuple[Float[Array, " batch"], Float[Array, "time batch n1"], Float[Array, "time batch n"]]:
    """The loss l = -log alpha(T, N) and its forward probabilities, which run over frames t and labels n.

    With the log-probabilities p of frame t, blank(t, n) is the log-probability of the frames up to t, of which the
    last is blank and which read as the first n labels, and label(t, n) that of those that end in label n itself:

        b(n) = log(exp blank(t-1, n) + exp label(t-1, n)), without the label where label n + 1 is the same again
        label(t, n) = p(label n) + log(exp b(n-1) + exp label(t-1, n))
        blank(t, n) = p(blank) + log(exp blank(t-1, n) + exp label(t-1, n))

    Args:
        logits: As of `ctc_loss`.
        logit_paddings: As of `ctc_loss`.
        labels: As of `ctc_loss`.
        label_paddings: As of `ctc_loss`.
        blank_id: As of `ctc_loss`.
        log_epsilon: As of `ctc_loss`.

    Returns:
        The losses, `(batch,)`; `blank`, `(time, batch, n + 1)`, of which the last frame has `label` added; and
        `label`, `(time, batch, n)`, in float32 at least.

    Raises:
        ShapeError: The shapes do not belong together, or there is no frame.
        ValueError: A concrete label is out of range or the blank, or comes after padding.

    >>> z = jnp.log(jnp.array([[[0.3, 0.7], [0.4, 0.6]]]))
    >>> loss, blank, label = ctc_loss_with_forward_probs(z, jnp.zeros((1, 2)), jnp.array([[1]]), jnp.zeros((1, 1)))
    >>> [f"{p:.2f}" for p in jnp.exp(label[:, 0, 0])]  # of 1; and of 11 or 01
    ['0.70', '0.60']

    Source: Graves et al., "Connectionist temporal classification" (2006); the name and the values are optax's.
    """
    paddings = logit_paddings, labels, label_paddings
    settings: Any = {"blank_id": blank_id, "log_epsilon": log_epsilon}
    return ctc_loss_with_forward_probs_fwd(logits, *paddings, **settings)[0]


def ctc_loss_with_forward_probs_fwd(logits, logit_paddings, labels, label_paddings, *, blank_id=0, log_epsilon=-1e5):
    """Remember the log-probabilities of classes, and both forward probabilities: time times labels numbers."""
    z = logits.astype(accumulator_dtype(logits.dtype))
    shifted = z - lax.stop_gradient(z.max(-1, keepdims=True))
    log_p = shifted - jnp.log(jnp.exp(shifted).sum(-1, keepdims=True))
    nothing = jnp.asarray(log_epsilon, z.dtype)
    again = _again(labels, z.dtype)
    start = _start(labels, nothing)

    def frame(before, now):
        p_blank, p_label, padded = now
        blank, label = before
        ready = _append(blank, label + nothing * again)
        next_label = jnp.logaddexp(ready[:, :-1], label) + p_label
        next_blank = _append(ready, label + nothing * (1 - again)) + p_blank
        after = jnp.where(padded, blank, next_blank), jnp.where(padded, label, next_label)
        return after, after

    emitted = _emitted(log_p, labels, label_paddings, blank_id)
    (last_blank, last_label), (blank, label) = lax.scan(frame, start, (*emitted, _over_time(logit_paddings)))
    end = _append(last_blank, last_label)
    l = -jnp.where(_at_end(label_paddings), end, 0).sum(1)
    out = l.astype(logits.dtype), blank.at[-1].set(end), label
    return out, (shape_only(logits), log_p, (blank, label), logit_paddings, labels, label_paddings)


def ctc_loss_with_forward_probs_bwd(residuals, d_out, *, blank_id=0, log_epsilon=-1e5):
    """The recursion backwards in time: of y = log(exp a + exp b), da = dy exp(a - y) and db = dy exp(b - y).

    What comes back to each place is the probability of passing there, given the labels (the alpha beta / p of the
    paper, with its sign turned); so dlog p of a class is the sum over the places that say it, and the softmax gives
    dz = dlog p - p sum(dlog p).
    """
    logits, log_p, (blank, label), logit_paddings, labels, label_paddings = residuals
    dl, d_blanks, d_labels = (d.astype(log_p.dtype) for d in d_out)
    nothing = jnp.asarray(log_epsilon, log_p.dtype)
    again = _again(labels, log_p.dtype)

    d_end = d_blanks[-1] - jnp.where(_at_end(label_paddings), dl[:, None], 0)
    d_blank, d_label = _append_bwd(blank[-1], label[-1], d_end)
    start = _start(labels, nothing)
    before = tuple(jnp.concatenate([first[None], all[:-1]]) for first, all in zip(start, (blank, label), strict=True))

    def frame(after, now):
        (blank, label), padded, (d_blank_out, d_label_out) = now
        d_blank, d_label = after[0] + d_blank_out, after[1] + d_label_out
        d_next_blank, d_next_label = jnp.where(padded, 0, d_blank), jnp.where(padded, 0, d_label)
        ready = _append(blank, label + nothing * again)
        d_ready, through_blank = _append_bwd(ready, label + nothing * (1 - again), d_next_blank)
        share = _share(ready[:, :-1], label)
        d_ready = d_ready.at[:, :-1].add(d_next_label * share)
        d_kept, through_ready = _append_bwd(blank, label + nothing * again, d_ready)
        d_label = jnp.where(padded, d_label, through_blank + through_ready + d_next_label * (1 - share))
        return (jnp.where(padded, d_blank, d_kept), d_label), (d_next_blank.sum(1, keepdims=True), d_next_label)

    d_outs = d_blanks.at[-1].set(0), d_labels
    _, d_emitted = lax.scan(frame, (d_blank, d_label), (before, _over_time(logit_paddings), d_outs), reverse=True)
    d_log_p = _emitted_bwd(*d_emitted, log_p, labels, blank_id)
    dz = d_log_p - jnp.exp(log_p) * d_log_p.sum(-1, keepdims=True)
    return dz.astype(logits.dtype), None, None, None


ctc_loss_with_forward_probs.defvjp(ctc_loss_with_forward_probs_fwd, ctc_loss_with_forward_probs_bwd)


def _again(labels, dtype):
    """1 where the next label is the same again, `(batch, n)`."""
    same = labels[:, :-1] == labels[:, 1:]
    return jnp.pad(same.astype(dtype), ((0, 0), (0, min(labels.shape[1], 1))))


def _start(labels, nothing):
    """The log-probabilities before the first frame: no label has been read, and that is certain."""
    batch, n = labels.shape
    label = jnp.broadcast_to(nothing, (batch, n))
    return jnp.concatenate([jnp.zeros((batch, 1), nothing.dtype), label], 1), label


def _append(blank, label):
    """Where label n was the last, n labels have been read, as where a blank came after it: add up both."""
    return jnp.concatenate([blank[:, :1], jnp.logaddexp(blank[:, 1:], label)], 1)


def _append_bwd(blank, label, d):
    share = _share(blank[:, 1:], label)
    return jnp.concatenate([d[:, :1], d[:, 1:] * share], 1), d[:, 1:] * (1 - share)


def _share(a, b):
    """exp(a) / (exp(a) + exp(b))."""
    return lax.logistic(jnp.where(a == b, 0, a - b))


def _over_time(paddings):
    return (paddings != 0).T[:, :, None]


def _at_end(label_paddings):
    """Where all labels that are there have been read, `(batch, n + 1)`."""
    length = (label_paddings == 0).sum(1, keepdims=True)
    return lax.broadcasted_iota(length.dtype, (length.shape[0], label_paddings.shape[1] + 1), 1) == length


def _emitted(log_p, labels, label_paddings, blank_id):
    """The log-probabilities of the blank, `(time, batch, 1)`, and of each label, `(time, batch, n)`."""
    labels = labels.astype(jnp.int32)
    known = (labels >= 0) & (labels < log_p.shape[-1])
    p_label = jnp.take_along_axis(log_p, jnp.where(known, labels, 0)[:, None, :], axis=2)
    p_label = jnp.where(known[:, None, :], p_label, jnp.where(label_paddings == 0, jnp.nan, 0)[:, None, :])
    return log_p[:, :, blank_id : blank_id + 1].transpose(1, 0, 2), p_label.transpose(1, 0, 2)


def _emitted_bwd(d_blank, d_label, log_p, labels, blank_id):
    """Each class gets what all places that say it got."""
    said = labels.astype(jnp.int32)[:, :, None] == lax.broadcasted_iota(jnp.int32, (*labels.shape, log_p.shape[-1]), 2)
    d_log_p = jnp.einsum("tbn,bnk->btk", d_label, said.astype(log_p.dtype))
    return d_log_p.at[:, :, blank_id].add(d_blank[:, :, 0].T)
