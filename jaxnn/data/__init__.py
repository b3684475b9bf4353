"""Data: sets to begin with, their splits, scaling and sampling, and weights of their examples."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.data._bootstrap import bootstrap as bootstrap
    from jaxnn.data._bootstrap import out_of_bag as out_of_bag
    from jaxnn.data._class_weights import class_weighted as class_weighted
    from jaxnn.data._class_weights import class_weights as class_weights
    from jaxnn.data._datasets import digits as digits
    from jaxnn.data._folds import Folds as Folds
    from jaxnn.data._folds import folds as folds
    from jaxnn.data._grouped import grouped_k_fold as grouped_k_fold
    from jaxnn.data._grouped import leave_one_group_out as leave_one_group_out
    from jaxnn.data._grouped import stratified_grouped_k_fold as stratified_grouped_k_fold
    from jaxnn.data._sampling import oversampling as oversampling
    from jaxnn.data._sampling import undersampling as undersampling
    from jaxnn.data._sampling import weighted_sampling as weighted_sampling
    from jaxnn.data._scaling import Scaling as Scaling
    from jaxnn.data._scaling import max_abs_scaling as max_abs_scaling
    from jaxnn.data._scaling import min_max_scaling as min_max_scaling
    from jaxnn.data._scaling import robust_scaling as robust_scaling
    from jaxnn.data._scaling import standard_scaling as standard_scaling
    from jaxnn.data._splitters import hold_out as hold_out
    from jaxnn.data._splitters import k_fold as k_fold
    from jaxnn.data._splitters import leave_one_out as leave_one_out
    from jaxnn.data._splitters import repeated_k_fold as repeated_k_fold
    from jaxnn.data._splitters import repeated_stratified_k_fold as repeated_stratified_k_fold
    from jaxnn.data._splitters import stratified_k_fold as stratified_k_fold
    from jaxnn.data._time_ordered import time_ordered as time_ordered
    from jaxnn.typing import Data as Data
    from jaxnn.typing import Sequences as Sequences
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Data",
    "Folds",
    "Scaling",
    "Sequences",
    "bootstrap",
    "class_weighted",
    "class_weights",
    "digits",
    "folds",
    "grouped_k_fold",
    "hold_out",
    "k_fold",
    "leave_one_group_out",
    "leave_one_out",
    "max_abs_scaling",
    "min_max_scaling",
    "out_of_bag",
    "oversampling",
    "repeated_k_fold",
    "repeated_stratified_k_fold",
    "robust_scaling",
    "standard_scaling",
    "stratified_grouped_k_fold",
    "stratified_k_fold",
    "time_ordered",
    "undersampling",
    "weighted_sampling",
]
