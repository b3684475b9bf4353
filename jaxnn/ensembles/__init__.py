"""Ensembles: models that are fitted together, what they say as one, and how sure of it they are."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.ensembles._adaboost import Boosted as Boosted
    from jaxnn.ensembles._adaboost import adaboost as adaboost
    from jaxnn.ensembles._bagging import Bagged as Bagged
    from jaxnn.ensembles._bagging import bagging as bagging
    from jaxnn.ensembles._deep import deep_ensemble as deep_ensemble
    from jaxnn.ensembles._dropout import monte_carlo_dropout as monte_carlo_dropout
    from jaxnn.ensembles._fitted import Fitted as Fitted
    from jaxnn.ensembles._fitted import ensemble_of as ensemble_of
    from jaxnn.ensembles._fitted import member as member
    from jaxnn.ensembles._fitted import stacked as stacked
    from jaxnn.ensembles._fitted import unstacked as unstacked
    from jaxnn.ensembles._gradient_boosting import GradientBoosted as GradientBoosted
    from jaxnn.ensembles._gradient_boosting import gradient_boosting as gradient_boosting
    from jaxnn.ensembles._snapshot import Snapshots as Snapshots
    from jaxnn.ensembles._snapshot import snapshots as snapshots
    from jaxnn.ensembles._stacking import Stacked as Stacked
    from jaxnn.ensembles._stacking import stacking as stacking
    from jaxnn.ensembles._temperature import calibrated as calibrated
    from jaxnn.ensembles._temperature import temperature as temperature
    from jaxnn.ensembles._uncertainty import Spread as Spread
    from jaxnn.ensembles._uncertainty import Uncertainty as Uncertainty
    from jaxnn.ensembles._uncertainty import spread as spread
    from jaxnn.ensembles._uncertainty import uncertainty as uncertainty
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Bagged",
    "Boosted",
    "Fitted",
    "GradientBoosted",
    "Snapshots",
    "Spread",
    "Stacked",
    "Uncertainty",
    "adaboost",
    "bagging",
    "calibrated",
    "deep_ensemble",
    "ensemble_of",
    "gradient_boosting",
    "member",
    "monte_carlo_dropout",
    "snapshots",
    "spread",
    "stacked",
    "stacking",
    "temperature",
    "uncertainty",
    "unstacked",
]
