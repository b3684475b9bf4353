"""Training: a run, its steps and its evaluation, pure functions; and `run`, which drives them from the host."""

from jaxnn.training._epoch import FitState as FitState
from jaxnn.training._evaluate import evaluate as evaluate
from jaxnn.training._fit import fit as fit
from jaxnn.training._order import shuffled as shuffled
from jaxnn.training._rehearsals import dry_run as dry_run
from jaxnn.training._rehearsals import overfit as overfit
from jaxnn.training._run import Outcome as Outcome
from jaxnn.training._run import run as run
from jaxnn.training._stopping import EarlyStopping as EarlyStopping
from jaxnn.training._trainer import AUGMENT as AUGMENT
from jaxnn.training._trainer import INIT as INIT
from jaxnn.training._trainer import LAYERS as LAYERS
from jaxnn.training._trainer import SHUFFLE as SHUFFLE
from jaxnn.training._trainer import Info as Info
from jaxnn.training._trainer import Trainer as Trainer
from jaxnn.training._trainer import TrainState as TrainState
from jaxnn.training._trainer import trainer as trainer

__all__ = [
    "AUGMENT",
    "INIT",
    "LAYERS",
    "SHUFFLE",
    "EarlyStopping",
    "FitState",
    "Info",
    "Outcome",
    "TrainState",
    "Trainer",
    "dry_run",
    "evaluate",
    "fit",
    "overfit",
    "run",
    "shuffled",
    "trainer",
]
