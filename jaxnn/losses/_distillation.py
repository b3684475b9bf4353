"""Distillation: to learn from what another model, or an ensemble, says of each class.

Dimensions: `batch` examples, `classes` the last axis of logits, `...` any further axes.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Num

from jaxnn.losses._divergence import kl_divergence_with_log_targets
from jaxnn.losses._dtypes import common_dtype, cotangents
from jaxnn.losses._log_probabilities import log_softmax, number
from jaxnn.losses._shapes import check_positive, check_same_shape
from jaxnn.ops._op import op, shape_only
from jaxnn.typing import AnyArray, Array, Scalar, accumulator_dtype


def _check_distillation(logits: AnyArray, teacher_logits: AnyArray, *, temperature: Scalar = 1.0) -> None:
    check_same_shape(logits, teacher_logits)
    check_positive("temperature", temperature, why="logits are divided by it")


@op(_check_distillation)
def distillation(
    logits: Float[Array, "*batch classes"], teacher_logits: Num[Array, "*batch classes"], *, temperature: Scalar = 1.0
) -> Float[Array, "*batch"]:
    """Divergence from a teacher's probabilities at a temperature, l = T^2 KL(softmax(v / T) || softmax(z / T)).

    A T above 1 shows more of what the teacher thinks of wrong classes. The gradient falls with 1 / T^2, which the
    factor makes up for, so that T may be changed without the learning rate.

    Args:
        logits: z, the student's, `(..., classes)`.
        teacher_logits: v, the teacher's, the same shape; those of an `Ensemble` are logarithms of its mean
            probabilities.
        temperature: T, above 0; may be swept. The paper has 1 to 20.

    Returns:
        `(...)`, computed in float32 at least.

    Raises:
        ShapeError: The shapes differ.
        ValueError: The temperature is not above 0.
        TypeError: Both logits are integer.

    >>> teacher = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
    >>> distillation(teacher, teacher), distillation(jnp.zeros((1, 3)), teacher, temperature=2.0).round(1)
    (Array([0.], dtype=float32), Array([0.3], dtype=float32))

    The paper adds a little of the labels' own loss. A loss is any function of prediction and target, and targets may
    be a pair:

    >>> import jaxnn as nn
    >>> def soft_and_hard(z, y):
    ...     soft = nn.losses.distillation(z, y["teacher"], temperature=4.0)
    ...     return 0.9 * soft + 0.1 * nn.losses.cross_entropy(z, y["label"])
    >>> soft_and_hard(jnp.zeros((1, 3)), {"teacher": teacher, "label": jnp.array([0])}).round(2)
    Array([0.41], dtype=float32)

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015).
    """
    log_p, log_q = _log_softmaxes(logits, teacher_logits, temperature)
    t = number(temperature, log_p)
    loss = t * t * kl_divergence_with_log_targets.plain(log_p, log_q)
    return loss.astype(common_dtype(logits, teacher_logits))


def distillation_fwd(logits, teacher_logits, *, temperature=1.0):
    """Remember log p and log q, of student and teacher at the temperature, and the dtypes."""
    log_p, log_q = _log_softmaxes(logits, teacher_logits, temperature)
    loss = distillation.plain(logits, teacher_logits, temperature=temperature)
    return loss, (log_p, log_q, shape_only(logits), shape_only(teacher_logits))


def distillation_bwd(residuals, dl, *, temperature=1.0):
    """dl/dz = T (p - q), and dl/dv = T q (d - sum q d) with d = log q - log p."""
    log_p, log_q, *arrays = residuals
    dl = dl[..., None].astype(log_p.dtype) * number(temperature, log_p)
    q = jnp.exp(log_q)
    d = jnp.where(q == 0, 0, log_q - log_p)
    return cotangents((dl * (jnp.exp(log_p) - q), dl * q * (d - (q * d).sum(-1, keepdims=True))), arrays)


distillation.defvjp(distillation_fwd, distillation_bwd)


def _log_softmaxes(logits, teacher_logits, temperature):
    # In float32 at least: at a high temperature the two are nearly alike, and T^2 makes what rounding leaves large.
    dtype = accumulator_dtype(common_dtype(logits, teacher_logits))
    t = lax.convert_element_type(temperature, dtype)
    return tuple(log_softmax(z.astype(dtype) / t) for z in (logits, teacher_logits))
