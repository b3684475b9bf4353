"""Every name of optax that belongs to optimizers is here too, with its arguments, defaults and fields of the state."""

import inspect

import optax
import optax.contrib
import optax.losses
import optax.projections
import optax.schedules
import optax.transforms
import pytest

from jaxnn import optim, schedules

ELSEWHERE = {*dir(optax.losses), *dir(optax.schedules), *dir(optax.projections)}
NAMES = {
    name: value
    for module in (optax.transforms, optax.contrib, optax)
    for name, value in vars(module).items()
    if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value)) and name not in ELSEWHERE
}
LEFT_OUT = {
    "deprecated, or other names of what is here": {
        "multi_transform", "MultiTransformState", "optimistic_adam", "safe_int32_increment",
    },
    "other names of EmptyState": {
        "AdaptiveGradClipState", "AddDecayedWeightsState", "ClipByGlobalNormState", "ClipState", "ScaleState",
        "ScaleByTrustRatioState", "init_empty_state",
    },
    "types, of which `Optimizer` is the one that is needed": {
        "GradientTransformation", "GradientTransformationExtraArgs", "TransformInitFn", "TransformUpdateFn",
        "TransformUpdateExtraArgsFn", "ConditionFn", "ShouldSkipUpdateFunction",
    },
    "what rules are written with, not rules": {
        "matrix_inverse_pth_root", "multi_normal", "nnls", "power_iteration", "safe_increment", "safe_norm",
        "safe_root_mean_squares", "scale_gradient", "tree_map_params", "update_infinity_moment", "update_moment",
        "update_moment_per_elem_norm", "microbatch",
    },
}  # fmt: skip
OURS = {name: getattr(optim, name) for name in NAMES if hasattr(optim, name)}

# A function cannot equal a function; where we take more, it comes last.
OWN_DEFAULTS = {
    "lbfgs": "linesearch", "scale_by_factored_rms": "decay_rate_fn", "adopt": "clip_value_fn",
    "scale_by_adopt": "clip_value_fn", "sophia": "hessian_diagonal_fn",
    "scale_by_learning_rate": "learning_rate",  # optax's None is no rate at all, and ascends
}  # fmt: skip
MORE = {"reduce_on_plateau": ["mode"]}


def arguments(function):
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


def test_no_name_is_missing():
    missing = {name for name in NAMES if not hasattr(optim, name) and not hasattr(schedules, name)}
    assert missing == set().union(*LEFT_OUT.values()) & NAMES.keys()
    assert len(OURS) > 150


@pytest.mark.parametrize("name", [name for name, value in OURS.items() if inspect.isfunction(value)])
def test_arguments_and_defaults_are_those_of_optax(name):
    ours, theirs = arguments(OURS[name]), arguments(NAMES[name])
    assert [a[0] for a in ours] == [a[0] for a in theirs] + MORE.get(name, [])
    for a, b in zip(ours, theirs, strict=False):
        assert a[2] == b[2]
        assert a[1] == b[1] or a[0] == OWN_DEFAULTS.get(name), a


@pytest.mark.parametrize("name", [name for name, value in OURS.items() if hasattr(value, "_fields")])
def test_the_fields_of_a_state_are_those_of_optax(name):
    if name != "MultiSteps":  # ours is an optimizer, optax's a class that makes one
        assert OURS[name]._fields == NAMES[name]._fields
