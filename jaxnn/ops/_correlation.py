"""The three bilinear maps of convolution, each of which is what the derivatives of the other two are made of.

With x on the positions of an axis, y on its windows and w on their taps (`_windows.py` says where tap j of window q
lies: at p = s q + d j - low), and with i and o for features in and out,

    correlate    y_qo  = sum_ji x_pi w_jio      linear in x and in w
    transpose    x_pi  = sum_jo y_qo w_jio      linear in y and in w
    weigh        w_jio = sum_q  x_pi y_qo       linear in x and in y

where j, q and p go together. All three are derivatives of one number, sum_qjio x_pi w_jio y_qo; so the derivative of
each in one of its arguments is another of them, and so on for the second derivative.

On GPU and TPU they are XLA's convolutions, on a CPU those of `_correlation_cpu.py`. Which of the two is decided when
a program is lowered for a platform, not by asking for the default device.

Dimensions: `batch`, any number of spatial axes, `features` last.
"""

import functools
from collections.abc import Callable
from functools import partial

import jax
from jax import lax
from jax.custom_batching import custom_vmap

from jaxnn.ops import _correlation_cpu as cpu
from jaxnn.ops import _correlation_xla as xla
from jaxnn.ops._op import Op
from jaxnn.ops._rule import with_rule
from jaxnn.ops._windows import Axes
from jaxnn.typing import Array

Bilinear = Callable[[Array, Array], Array]

correlate, transpose, weigh = Op(xla.correlate), Op(xla.transpose), Op(xla.weigh)


@functools.cache
def _on_platform(name: str, axes: Axes, groups: int) -> Bilinear:
    """The map of this name, of two arrays: what is fast on a CPU there, XLA's convolution elsewhere."""
    on_cpu, otherwise = (partial(getattr(form, name), axes=axes, groups=groups) for form in (cpu, xla))
    # A rule here too, whose forward has it in turn: a second derivative goes through what `fwd` has computed.
    compute = with_rule(
        partial(lax.platform_dependent, cpu=_member_by_member(on_cpu), default=otherwise),
        lambda a, b: (compute(a, b), (a, b)),
        partial(BACKWARD[name], axes=axes, groups=groups),
        lambda ab, d_ab: compute(d_ab[0], ab[1]) + compute(ab[0], d_ab[1]),
    )
    # Compiled, for calls outside of any program, which would compile their loops anew each time.
    return jax.jit(compute, inline=True)


def _member_by_member(bilinear: Bilinear) -> Bilinear:
    """Let `vmap` loop over the members of a sweep or an ensemble.

    All of them at once would fall out of the cache that each was made for: a loop is up to three times as fast.
    Nothing differentiates this, for there are rules.
    """
    mapped = custom_vmap(bilinear)

    @mapped.def_vmap
    def rule(members, batched, a, b):
        whole = [x if is_batched else None for x, is_batched in zip((a, b), batched, strict=True)]

        def member(some):
            return mapped(*(shared if own is None else own for own, shared in zip(some, (a, b), strict=True)))

        del members
        return lax.map(member, whole), True

    return mapped


def correlate_fwd(x, w, *, axes, groups):
    """Remember both, for each is the other's derivative; so in all three."""
    return _on_platform("correlate", axes, groups)(x, w), (x, w)


def correlate_bwd(residuals, dy, *, axes, groups):
    """dx_pi = sum_jo dy_qo w_jio and dw_jio = sum_q x_pi dy_qo."""
    x, w = residuals
    return transpose(dy, w, axes=axes, groups=groups), weigh(x, dy, axes=axes, groups=groups)


def transpose_fwd(y, w, *, axes, groups):
    """Remember both."""
    return _on_platform("transpose", axes, groups)(y, w), (y, w)


def transpose_bwd(residuals, dx, *, axes, groups):
    """dy_qo = sum_ji dx_pi w_jio and dw_jio = sum_q dx_pi y_qo."""
    y, w = residuals
    return correlate(dx, w, axes=axes, groups=groups), weigh(dx, y, axes=axes, groups=groups)


def weigh_fwd(x, y, *, axes, groups):
    """Remember both."""
    return _on_platform("weigh", axes, groups)(x, y), (x, y)


def weigh_bwd(residuals, dw, *, axes, groups):
    """dx_pi = sum_jo y_qo dw_jio and dy_qo = sum_ji x_pi dw_jio."""
    x, y = residuals
    return transpose(y, dw, axes=axes, groups=groups), correlate(x, dw, axes=axes, groups=groups)


BACKWARD = {"correlate": correlate_bwd, "transpose": transpose_bwd, "weigh": weigh_bwd}

# Installed, because XLA's own weight gradient takes up to 100 times as long in a loop on a CPU: benchmarks/conv_ops.py.
correlate.defvjp(correlate_fwd, correlate_bwd, install=True)
transpose.defvjp(transpose_fwd, transpose_bwd, install=True)
weigh.defvjp(weigh_fwd, weigh_bwd, install=True)
