"""Optimizers with optax's contract, names and numbers, and hyperparameters that can be swept."""

from typing import TYPE_CHECKING

from jaxnn._on_demand import on_demand

if TYPE_CHECKING:
    from jaxnn.optim._acprop import acprop as acprop
    from jaxnn.optim._acprop import scale_by_acprop as scale_by_acprop
    from jaxnn.optim._adabelief import ScaleByBeliefState as ScaleByBeliefState
    from jaxnn.optim._adabelief import adabelief as adabelief
    from jaxnn.optim._adabelief import scale_by_belief as scale_by_belief
    from jaxnn.optim._adadelta import ScaleByAdaDeltaState as ScaleByAdaDeltaState
    from jaxnn.optim._adadelta import adadelta as adadelta
    from jaxnn.optim._adadelta import scale_by_adadelta as scale_by_adadelta
    from jaxnn.optim._adagrad import ScaleByRssState as ScaleByRssState
    from jaxnn.optim._adagrad import adagrad as adagrad
    from jaxnn.optim._adagrad import scale_by_rss as scale_by_rss
    from jaxnn.optim._adam import ScaleByAdamState as ScaleByAdamState
    from jaxnn.optim._adam import adam as adam
    from jaxnn.optim._adam import adamw as adamw
    from jaxnn.optim._adam import nadam as nadam
    from jaxnn.optim._adam import nadamw as nadamw
    from jaxnn.optim._adam import scale_by_adam as scale_by_adam
    from jaxnn.optim._adamax import adamax as adamax
    from jaxnn.optim._adamax import adamaxw as adamaxw
    from jaxnn.optim._adamax import scale_by_adamax as scale_by_adamax
    from jaxnn.optim._adan import ScaleByAdanState as ScaleByAdanState
    from jaxnn.optim._adan import adan as adan
    from jaxnn.optim._adan import scale_by_adan as scale_by_adan
    from jaxnn.optim._adaptive_clipping import adaptive_grad_clip as adaptive_grad_clip
    from jaxnn.optim._adaptive_clipping import unitwise_clip as unitwise_clip
    from jaxnn.optim._adaptive_clipping import unitwise_norm as unitwise_norm
    from jaxnn.optim._ademamix import ScaleByAdemamixState as ScaleByAdemamixState
    from jaxnn.optim._ademamix import ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState
    from jaxnn.optim._ademamix import ademamix as ademamix
    from jaxnn.optim._ademamix import scale_by_ademamix as scale_by_ademamix
    from jaxnn.optim._ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
    from jaxnn.optim._ademamix import simplified_ademamix as simplified_ademamix
    from jaxnn.optim._adopt import adopt as adopt
    from jaxnn.optim._adopt import scale_by_adopt as scale_by_adopt
    from jaxnn.optim._amsgrad import ScaleByAmsgradState as ScaleByAmsgradState
    from jaxnn.optim._amsgrad import amsgrad as amsgrad
    from jaxnn.optim._amsgrad import scale_by_amsgrad as scale_by_amsgrad
    from jaxnn.optim._apply_every import ApplyEvery as ApplyEvery
    from jaxnn.optim._apply_every import apply_every as apply_every
    from jaxnn.optim._averaging import AveragedParamsState as AveragedParamsState
    from jaxnn.optim._averaging import averaged_params as averaged_params
    from jaxnn.optim._averaging import equally_averaged as equally_averaged
    from jaxnn.optim._averaging import exponentially_averaged as exponentially_averaged
    from jaxnn.optim._averaging import incremental_update as incremental_update
    from jaxnn.optim._averaging import periodic_update as periodic_update
    from jaxnn.optim._backtracking import BacktrackingLinesearchInfo as BacktrackingLinesearchInfo
    from jaxnn.optim._backtracking import ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState
    from jaxnn.optim._backtracking import scale_by_backtracking_linesearch as scale_by_backtracking_linesearch
    from jaxnn.optim._by_name import by_name as by_name
    from jaxnn.optim._centralize import centralize as centralize
    from jaxnn.optim._clipping import clip as clip
    from jaxnn.optim._clipping import clip_by_block_rms as clip_by_block_rms
    from jaxnn.optim._clipping import clip_by_global_norm as clip_by_global_norm
    from jaxnn.optim._cocob import COCOBState as COCOBState
    from jaxnn.optim._cocob import cocob as cocob
    from jaxnn.optim._cocob import scale_by_cocob as scale_by_cocob
    from jaxnn.optim._combining import ApplyIfFiniteState as ApplyIfFiniteState
    from jaxnn.optim._combining import ConditionallyMaskState as ConditionallyMaskState
    from jaxnn.optim._combining import ConditionallyTransformState as ConditionallyTransformState
    from jaxnn.optim._combining import EmptyState as EmptyState
    from jaxnn.optim._combining import InjectStatefulHyperparamsState as InjectStatefulHyperparamsState
    from jaxnn.optim._combining import apply_if_finite as apply_if_finite
    from jaxnn.optim._combining import apply_updates as apply_updates
    from jaxnn.optim._combining import chain as chain
    from jaxnn.optim._combining import conditionally_mask as conditionally_mask
    from jaxnn.optim._combining import conditionally_transform as conditionally_transform
    from jaxnn.optim._combining import flatten as flatten
    from jaxnn.optim._combining import identity as identity
    from jaxnn.optim._combining import inject_hyperparams as inject_hyperparams
    from jaxnn.optim._combining import named_chain as named_chain
    from jaxnn.optim._combining import set_to_zero as set_to_zero
    from jaxnn.optim._combining import stateless as stateless
    from jaxnn.optim._combining import stateless_with_tree_map as stateless_with_tree_map
    from jaxnn.optim._combining import with_extra_args_support as with_extra_args_support
    from jaxnn.optim._constraints import NonNegativeParamsState as NonNegativeParamsState
    from jaxnn.optim._constraints import ZeroNansState as ZeroNansState
    from jaxnn.optim._constraints import keep_params_nonnegative as keep_params_nonnegative
    from jaxnn.optim._constraints import zero_nans as zero_nans
    from jaxnn.optim._dadaptation import DAdaptAdamWState as DAdaptAdamWState
    from jaxnn.optim._dadaptation import dadapt_adamw as dadapt_adamw
    from jaxnn.optim._differential_privacy import (
        DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
    )
    from jaxnn.optim._differential_privacy import differentially_private_aggregate as differentially_private_aggregate
    from jaxnn.optim._differential_privacy import dpsgd as dpsgd
    from jaxnn.optim._distance import DoGState as DoGState
    from jaxnn.optim._distance import DoWGState as DoWGState
    from jaxnn.optim._distance import ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState
    from jaxnn.optim._distance import dog as dog
    from jaxnn.optim._distance import dowg as dowg
    from jaxnn.optim._distance import scale_by_distance_over_gradients as scale_by_distance_over_gradients
    from jaxnn.optim._factored import FactoredState as FactoredState
    from jaxnn.optim._factored import adafactor as adafactor
    from jaxnn.optim._factored import scale_by_factored_rms as scale_by_factored_rms
    from jaxnn.optim._factored import scale_by_param_block_norm as scale_by_param_block_norm
    from jaxnn.optim._factored import scale_by_param_block_rms as scale_by_param_block_rms
    from jaxnn.optim._galore import GaLoreDimensionNumbers as GaLoreDimensionNumbers
    from jaxnn.optim._galore import GaLoreState as GaLoreState
    from jaxnn.optim._galore import galore as galore
    from jaxnn.optim._galore import scale_by_galore as scale_by_galore
    from jaxnn.optim._hypergradient import HypergradientDescentState as HypergradientDescentState
    from jaxnn.optim._hypergradient import hypergradient_descent as hypergradient_descent
    from jaxnn.optim._hypergradient import multiplicative_hypergradient_descent as multiplicative_hypergradient_descent
    from jaxnn.optim._lbfgs import ScaleByLBFGSState as ScaleByLBFGSState
    from jaxnn.optim._lbfgs import lbfgs as lbfgs
    from jaxnn.optim._lbfgs import scale_by_lbfgs as scale_by_lbfgs
    from jaxnn.optim._learning_rate import ScaleByScheduleState as ScaleByScheduleState
    from jaxnn.optim._learning_rate import scale_by_learning_rate as scale_by_learning_rate
    from jaxnn.optim._learning_rate import scale_by_schedule as scale_by_schedule
    from jaxnn.optim._lion import ScaleByLionState as ScaleByLionState
    from jaxnn.optim._lion import lion as lion
    from jaxnn.optim._lion import scale_by_lion as scale_by_lion
    from jaxnn.optim._lookahead import LookaheadParams as LookaheadParams
    from jaxnn.optim._lookahead import LookaheadState as LookaheadState
    from jaxnn.optim._lookahead import WithLookaheadState as WithLookaheadState
    from jaxnn.optim._lookahead import lookahead as lookahead
    from jaxnn.optim._lookahead import with_lookahead as with_lookahead
    from jaxnn.optim._loss_scale import LossScaleState as LossScaleState
    from jaxnn.optim._loss_scale import dynamic_loss_scale as dynamic_loss_scale
    from jaxnn.optim._loss_scale import loss_scale_of as loss_scale_of
    from jaxnn.optim._low_memory import LowMemoryState as LowMemoryState
    from jaxnn.optim._low_memory import low_memory as low_memory
    from jaxnn.optim._low_memory import stochastic_round as stochastic_round
    from jaxnn.optim._madgrad import MadgradState as MadgradState
    from jaxnn.optim._madgrad import madgrad as madgrad
    from jaxnn.optim._madgrad import scale_by_madgrad as scale_by_madgrad
    from jaxnn.optim._masking import MaskedNode as MaskedNode
    from jaxnn.optim._masking import MaskedState as MaskedState
    from jaxnn.optim._masking import PartitionState as PartitionState
    from jaxnn.optim._masking import freeze as freeze
    from jaxnn.optim._masking import masked as masked
    from jaxnn.optim._masking import partition as partition
    from jaxnn.optim._masking import selective_transform as selective_transform
    from jaxnn.optim._mechanize import MechanicState as MechanicState
    from jaxnn.optim._mechanize import mechanize as mechanize
    from jaxnn.optim._momentum import EmaState as EmaState
    from jaxnn.optim._momentum import TraceState as TraceState
    from jaxnn.optim._momentum import averaged_momentum as averaged_momentum
    from jaxnn.optim._momentum import ema as ema
    from jaxnn.optim._momentum import look_ahead as look_ahead
    from jaxnn.optim._momentum import momentum as momentum
    from jaxnn.optim._momentum import nesterov as nesterov
    from jaxnn.optim._momentum import sgd as sgd
    from jaxnn.optim._momentum import trace as trace
    from jaxnn.optim._momo import MomoAdamState as MomoAdamState
    from jaxnn.optim._momo import MomoState as MomoState
    from jaxnn.optim._momo import momo as momo
    from jaxnn.optim._momo import momo_adam as momo_adam
    from jaxnn.optim._monitoring import MonitorState as MonitorState
    from jaxnn.optim._monitoring import SnapshotState as SnapshotState
    from jaxnn.optim._monitoring import measure_with_ema as measure_with_ema
    from jaxnn.optim._monitoring import monitor as monitor
    from jaxnn.optim._monitoring import snapshot as snapshot
    from jaxnn.optim._multi_steps import MultiSteps as MultiSteps
    from jaxnn.optim._multi_steps import MultiStepsState as MultiStepsState
    from jaxnn.optim._multi_steps import skip_large_updates as skip_large_updates
    from jaxnn.optim._multi_steps import skip_not_finite as skip_not_finite
    from jaxnn.optim._muon import MuonDimensionNumbers as MuonDimensionNumbers
    from jaxnn.optim._muon import MuonState as MuonState
    from jaxnn.optim._muon import muon as muon
    from jaxnn.optim._muon import scale_by_muon as scale_by_muon
    from jaxnn.optim._noise import AddNoiseState as AddNoiseState
    from jaxnn.optim._noise import add_noise as add_noise
    from jaxnn.optim._noise import noisy_sgd as noisy_sgd
    from jaxnn.optim._norms import global_norm as global_norm
    from jaxnn.optim._novograd import ScaleByNovogradState as ScaleByNovogradState
    from jaxnn.optim._novograd import novograd as novograd
    from jaxnn.optim._novograd import scale_by_novograd as scale_by_novograd
    from jaxnn.optim._on_validation import ReduceOnValidationState as ReduceOnValidationState
    from jaxnn.optim._on_validation import after_row as after_row
    from jaxnn.optim._on_validation import reduce_on_validation as reduce_on_validation
    from jaxnn.optim._optimistic import ScaleByOptimisticGradientState as ScaleByOptimisticGradientState
    from jaxnn.optim._optimistic import optimistic_adam_v2 as optimistic_adam_v2
    from jaxnn.optim._optimistic import optimistic_gradient_descent as optimistic_gradient_descent
    from jaxnn.optim._optimistic import scale_by_optimistic_gradient as scale_by_optimistic_gradient
    from jaxnn.optim._optimizer import Optimizer as Optimizer
    from jaxnn.optim._per_example_clipping import per_example_global_norm_clip as per_example_global_norm_clip
    from jaxnn.optim._per_example_clipping import per_example_layer_norm_clip as per_example_layer_norm_clip
    from jaxnn.optim._plateau import ReduceLROnPlateauState as ReduceLROnPlateauState
    from jaxnn.optim._plateau import reduce_on_plateau as reduce_on_plateau
    from jaxnn.optim._polyak import polyak_sgd as polyak_sgd
    from jaxnn.optim._polyak import scale_by_polyak as scale_by_polyak
    from jaxnn.optim._prodigy import ProdigyState as ProdigyState
    from jaxnn.optim._prodigy import prodigy as prodigy
    from jaxnn.optim._proportional import proportional_rate as proportional_rate
    from jaxnn.optim._proportional import scale_by_magnitude as scale_by_magnitude
    from jaxnn.optim._radam import radam as radam
    from jaxnn.optim._radam import scale_by_radam as scale_by_radam
    from jaxnn.optim._rmsprop import ScaleByRmsState as ScaleByRmsState
    from jaxnn.optim._rmsprop import ScaleByRmsWithCountState as ScaleByRmsWithCountState
    from jaxnn.optim._rmsprop import ScaleByRStdDevState as ScaleByRStdDevState
    from jaxnn.optim._rmsprop import ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState
    from jaxnn.optim._rmsprop import rmsprop as rmsprop
    from jaxnn.optim._rmsprop import scale_by_rms as scale_by_rms
    from jaxnn.optim._rmsprop import scale_by_stddev as scale_by_stddev
    from jaxnn.optim._rprop import ScaleByRpropState as ScaleByRpropState
    from jaxnn.optim._rprop import rprop as rprop
    from jaxnn.optim._rprop import scale_by_rprop as scale_by_rprop
    from jaxnn.optim._sam import NormalizeState as NormalizeState
    from jaxnn.optim._sam import SAMState as SAMState
    from jaxnn.optim._sam import normalize as normalize
    from jaxnn.optim._sam import sam as sam
    from jaxnn.optim._scaling import normalize_by_update_norm as normalize_by_update_norm
    from jaxnn.optim._scaling import scale as scale
    from jaxnn.optim._schedule_free import ScheduleFreeState as ScheduleFreeState
    from jaxnn.optim._schedule_free import schedule_free as schedule_free
    from jaxnn.optim._schedule_free import schedule_free_adamw as schedule_free_adamw
    from jaxnn.optim._schedule_free import schedule_free_eval_params as schedule_free_eval_params
    from jaxnn.optim._schedule_free import schedule_free_sgd as schedule_free_sgd
    from jaxnn.optim._sign import scale_by_sign as scale_by_sign
    from jaxnn.optim._sign import sign_sgd as sign_sgd
    from jaxnn.optim._sign import signum as signum
    from jaxnn.optim._sm3 import ScaleBySM3State as ScaleBySM3State
    from jaxnn.optim._sm3 import scale_by_sm3 as scale_by_sm3
    from jaxnn.optim._sm3 import sm3 as sm3
    from jaxnn.optim._sophia import HutchinsonState as HutchinsonState
    from jaxnn.optim._sophia import SophiaState as SophiaState
    from jaxnn.optim._sophia import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
    from jaxnn.optim._sophia import sophia as sophia
    from jaxnn.optim._split_complex import SplitRealAndImaginaryState as SplitRealAndImaginaryState
    from jaxnn.optim._split_complex import split_real_and_imaginary as split_real_and_imaginary
    from jaxnn.optim._trust_ratio import fromage as fromage
    from jaxnn.optim._trust_ratio import lamb as lamb
    from jaxnn.optim._trust_ratio import lars as lars
    from jaxnn.optim._trust_ratio import scale_by_trust_ratio as scale_by_trust_ratio
    from jaxnn.optim._value_and_grad import value_and_grad_from_state as value_and_grad_from_state
    from jaxnn.optim._weight_decay import WeightDecaySchedule as WeightDecaySchedule
    from jaxnn.optim._weight_decay import add_decayed_weights as add_decayed_weights
    from jaxnn.optim._yogi import scale_by_yogi as scale_by_yogi
    from jaxnn.optim._yogi import yogi as yogi
    from jaxnn.optim._zoom import ScaleByZoomLinesearchState as ScaleByZoomLinesearchState
    from jaxnn.optim._zoom import ZoomLinesearchInfo as ZoomLinesearchInfo
    from jaxnn.optim._zoom import scale_by_zoom_linesearch as scale_by_zoom_linesearch
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "AddNoiseState",
    "ApplyEvery",
    "ApplyIfFiniteState",
    "AveragedParamsState",
    "BacktrackingLinesearchInfo",
    "COCOBState",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "DAdaptAdamWState",
    "DifferentiallyPrivateAggregateState",
    "DoGState",
    "DoWGState",
    "EmaState",
    "EmptyState",
    "FactoredState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "HypergradientDescentState",
    "InjectStatefulHyperparamsState",
    "LookaheadParams",
    "LookaheadState",
    "LossScaleState",
    "LowMemoryState",
    "MadgradState",
    "MaskedNode",
    "MaskedState",
    "MechanicState",
    "MomoAdamState",
    "MomoState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "MuonDimensionNumbers",
    "MuonState",
    "NonNegativeParamsState",
    "NormalizeState",
    "Optimizer",
    "PartitionState",
    "ProdigyState",
    "ReduceLROnPlateauState",
    "ReduceOnValidationState",
    "SAMState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAdanState",
    "ScaleByAdemamixState",
    "ScaleByAmsgradState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByBeliefState",
    "ScaleByDistanceOverGradientsState",
    "ScaleByLBFGSState",
    "ScaleByLionState",
    "ScaleByNovogradState",
    "ScaleByOptimisticGradientState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleBySM3State",
    "ScaleByScheduleState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScaleByZoomLinesearchState",
    "ScheduleFreeState",
    "SnapshotState",
    "SophiaState",
    "SplitRealAndImaginaryState",
    "TraceState",
    "WeightDecaySchedule",
    "WithLookaheadState",
    "ZeroNansState",
    "ZoomLinesearchInfo",
    "acprop",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "ademamix",
    "adopt",
    "after_row",
    "amsgrad",
    "apply_every",
    "apply_if_finite",
    "apply_updates",
    "averaged_momentum",
    "averaged_params",
    "by_name",
    "centralize",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "cocob",
    "conditionally_mask",
    "conditionally_transform",
    "dadapt_adamw",
    "differentially_private_aggregate",
    "dog",
    "dowg",
    "dpsgd",
    "dynamic_loss_scale",
    "ema",
    "equally_averaged",
    "exponentially_averaged",
    "flatten",
    "freeze",
    "fromage",
    "galore",
    "global_norm",
    "hutchinson_estimator_diag_hessian",
    "hypergradient_descent",
    "identity",
    "incremental_update",
    "inject_hyperparams",
    "keep_params_nonnegative",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "look_ahead",
    "lookahead",
    "loss_scale_of",
    "low_memory",
    "madgrad",
    "masked",
    "measure_with_ema",
    "mechanize",
    "momentum",
    "momo",
    "momo_adam",
    "monitor",
    "multiplicative_hypergradient_descent",
    "muon",
    "nadam",
    "nadamw",
    "named_chain",
    "nesterov",
    "noisy_sgd",
    "normalize",
    "normalize_by_update_norm",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "partition",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "periodic_update",
    "polyak_sgd",
    "prodigy",
    "proportional_rate",
    "radam",
    "reduce_on_plateau",
    "reduce_on_validation",
    "rmsprop",
    "rprop",
    "sam",
    "scale",
    "scale_by_acprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_backtracking_linesearch",
    "scale_by_belief",
    "scale_by_cocob",
    "scale_by_distance_over_gradients",
    "scale_by_factored_rms",
    "scale_by_galore",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_madgrad",
    "scale_by_magnitude",
    "scale_by_muon",
    "scale_by_novograd",
    "scale_by_optimistic_gradient",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_polyak",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_sign",
    "scale_by_simplified_ademamix",
    "scale_by_sm3",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "scale_by_yogi",
    "scale_by_zoom_linesearch",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "selective_transform",
    "set_to_zero",
    "sgd",
    "sign_sgd",
    "signum",
    "simplified_ademamix",
    "skip_large_updates",
    "skip_not_finite",
    "sm3",
    "snapshot",
    "sophia",
    "split_real_and_imaginary",
    "stateless",
    "stateless_with_tree_map",
    "stochastic_round",
    "trace",
    "unitwise_clip",
    "unitwise_norm",
    "value_and_grad_from_state",
    "with_extra_args_support",
    "with_lookahead",
    "yogi",
    "zero_nans",
]
