"""Training: a run, its steps and its evaluation, pure functions; and `run`, which drives them from the host."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.training._averages import averaged as averaged
    from jaxnn.training._averages import recalibrated as recalibrated
    from jaxnn.training._epoch import FitState as FitState
    from jaxnn.training._evaluate import evaluate as evaluate
    from jaxnn.training._fit import fit as fit
    from jaxnn.training._freezing import refreeze as refreeze
    from jaxnn.training._learning_rate_finder import LearningRates as LearningRates
    from jaxnn.training._learning_rate_finder import find_learning_rate as find_learning_rate
    from jaxnn.training._minimize import Minimum as Minimum
    from jaxnn.training._minimize import Reason as Reason
    from jaxnn.training._minimize import minimize as minimize
    from jaxnn.training._order import shuffled as shuffled
    from jaxnn.training._predict import predict as predict
    from jaxnn.training._recording import gradient_norm as gradient_norm
    from jaxnn.training._recording import gradient_norms as gradient_norms
    from jaxnn.training._recording import learning_rate as learning_rate
    from jaxnn.training._recording import relative_update_norms as relative_update_norms
    from jaxnn.training._recording import update_norms as update_norms
    from jaxnn.training._rehearsals import dry_run as dry_run
    from jaxnn.training._rehearsals import overfit as overfit
    from jaxnn.training._run import Outcome as Outcome
    from jaxnn.training._run import run as run
    from jaxnn.training._stopping import EarlyStopping as EarlyStopping
    from jaxnn.training._trainer import AUGMENT as AUGMENT
    from jaxnn.training._trainer import INIT as INIT
    from jaxnn.training._trainer import LAYERS as LAYERS
    from jaxnn.training._trainer import SAMPLE as SAMPLE
    from jaxnn.training._trainer import SHUFFLE as SHUFFLE
    from jaxnn.training._trainer import Info as Info
    from jaxnn.training._trainer import Observed as Observed
    from jaxnn.training._trainer import Trainer as Trainer
    from jaxnn.training._trainer import TrainState as TrainState
    from jaxnn.training._trainer import trainer as trainer
    from jaxnn.training._transfer import transfer as transfer
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "AUGMENT",
    "INIT",
    "LAYERS",
    "SAMPLE",
    "SHUFFLE",
    "EarlyStopping",
    "FitState",
    "Info",
    "LearningRates",
    "Minimum",
    "Observed",
    "Outcome",
    "Reason",
    "TrainState",
    "Trainer",
    "averaged",
    "dry_run",
    "evaluate",
    "find_learning_rate",
    "fit",
    "gradient_norm",
    "gradient_norms",
    "learning_rate",
    "minimize",
    "overfit",
    "predict",
    "recalibrated",
    "refreeze",
    "relative_update_norms",
    "run",
    "shuffled",
    "trainer",
    "transfer",
    "update_norms",
]
