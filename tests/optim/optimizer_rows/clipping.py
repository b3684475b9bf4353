"""Bounds on gradients and parameters, and what else shapes updates."""

from functools import partial

import optax

from jaxnn import optim
from optimizer_rows._row import Row

ROWS = [
    Row("clip", optim.clip, optax.clip, {"max_delta": 0.7}),
    Row("clip_by_global_norm", optim.clip_by_global_norm, optax.clip_by_global_norm, {"max_norm": 1.2}),
    Row("clip_by_block_rms", optim.clip_by_block_rms, optax.clip_by_block_rms, {"threshold": 0.5}),
    Row("adaptive_grad_clip", optim.adaptive_grad_clip, optax.adaptive_grad_clip, {"clipping": 0.3, "eps": 1.5}),
    Row("centralize", optim.centralize, optax.centralize, {}),
    Row("scale", optim.scale, optax.scale, {"step_size": -0.3}),
    Row(
        "normalize_by_update_norm",
        optim.normalize_by_update_norm,
        optax.normalize_by_update_norm,
        {"scale_factor": -0.3, "eps": 0.1},
    ),
    Row("apply_every", partial(optim.apply_every, 3), partial(optax.apply_every, 3), {}),
    Row("keep_params_nonnegative", optim.keep_params_nonnegative, optax.keep_params_nonnegative, {}),
]
