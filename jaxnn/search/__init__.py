"""Search: whole runs as values, which are swept, tuned and differentiated by their hyperparameters."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.search._bayesian import bayesian as bayesian
    from jaxnn.search._checkpointing import checkpointed_fit as checkpointed_fit
    from jaxnn.search._cross_validated import CrossValidation as CrossValidation
    from jaxnn.search._cross_validation import cross_validate as cross_validate
    from jaxnn.search._halved import Halved as Halved
    from jaxnn.search._halving import halving as halving
    from jaxnn.search._hyperband import hyperband as hyperband
    from jaxnn.search._hypergradient import hypergradient as hypergradient
    from jaxnn.search._implicit import ImplicitHypergradient as ImplicitHypergradient
    from jaxnn.search._implicit import implicit_hypergradient as implicit_hypergradient
    from jaxnn.search._members import member_key as member_key
    from jaxnn.search._nested import NestedCrossValidation as NestedCrossValidation
    from jaxnn.search._nested import nested_cross_validate as nested_cross_validate
    from jaxnn.search._population import Population as Population
    from jaxnn.search._population import population_based_training as population_based_training
    from jaxnn.search._result import Sweep as Sweep
    from jaxnn.search._space import Choice as Choice
    from jaxnn.search._space import Grid as Grid
    from jaxnn.search._space import Halton as Halton
    from jaxnn.search._space import Integer as Integer
    from jaxnn.search._space import LogUniform as LogUniform
    from jaxnn.search._space import Random as Random
    from jaxnn.search._space import Sobol as Sobol
    from jaxnn.search._space import Uniform as Uniform
    from jaxnn.search._sweep import sweep as sweep
    from jaxnn.search._tune import Tuned as Tuned
    from jaxnn.search._tune import tune as tune
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Choice",
    "CrossValidation",
    "Grid",
    "Halton",
    "Halved",
    "ImplicitHypergradient",
    "Integer",
    "LogUniform",
    "NestedCrossValidation",
    "Population",
    "Random",
    "Sobol",
    "Sweep",
    "Tuned",
    "Uniform",
    "bayesian",
    "checkpointed_fit",
    "cross_validate",
    "halving",
    "hyperband",
    "hypergradient",
    "implicit_hypergradient",
    "member_key",
    "nested_cross_validate",
    "population_based_training",
    "sweep",
    "tune",
]
