"""Optimizers from optimizers. What optax has here is what jaxnn uses, and any of either goes into these.

=============================  =========================================================================================
`chain`                        One after another; ours, for it refuses gradients of other leaves or integers.
`named_chain`                  The same of pairs (name, optimizer); the state is a dict.
`identity`                     Hands updates on.
`set_to_zero`                  Makes all updates 0.
`stateless`                    Of a function (updates, params) -> updates.
`stateless_with_tree_map`      Of a function of one leaf of each.
`apply_if_finite`              Leaves out steps with NaN or infinite gradients, the optimizer's state included, until
                               there are more in a row than a number: then the NaN is let through.
`conditionally_transform`      Transforms at those steps for which a function of their count says so; else hands on.
`conditionally_mask`           The same, but updates are 0 at the other steps.
`flatten`                      Gives its optimizer one vector of all leaves, which must have one dtype.
`inject_hyperparams`           Keeps hyperparameters in the state, `state.hyperparams`, to be looked at and set there;
                               each may be a schedule.
`with_extra_args_support`      Lets an optimizer ignore extra arguments of `update`.
`apply_updates`                params + updates, in the dtype of the parameters: ours, for any two dtypes.
=============================  =========================================================================================

Masks, partitions and what freezes are in `_masking`, `MultiSteps` and `lookahead` in files of their own, measures that
are kept in the state in `_monitoring`, and averages of parameters in `_averaging`.
"""

from optax import ApplyIfFiniteState as ApplyIfFiniteState
from optax import ConditionallyMaskState as ConditionallyMaskState
from optax import ConditionallyTransformState as ConditionallyTransformState
from optax import EmptyState as EmptyState
from optax import apply_if_finite as apply_if_finite
from optax import conditionally_mask as conditionally_mask
from optax import conditionally_transform as conditionally_transform
from optax import flatten as flatten
from optax import identity as identity
from optax import inject_hyperparams as inject_hyperparams
from optax import named_chain as named_chain
from optax import set_to_zero as set_to_zero
from optax import stateless as stateless
from optax import stateless_with_tree_map as stateless_with_tree_map
from optax import with_extra_args_support as with_extra_args_support
from optax.schedules import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState

from jaxnn.optim._apply_updates import apply_updates as apply_updates
from jaxnn.optim._chain import chain as chain
