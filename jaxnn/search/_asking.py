"""Optuna, as a search by batches needs it: distributions in its terms, and a study that is asked and told."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import jax
import numpy as np

from jaxnn.errors import describe, is_array
from jaxnn.search._result import Mode
from jaxnn.search._space import Choice, Distribution, Integer, LogUniform, Uniform
from jaxnn.typing import Key

_MARK = "jaxnn trial"
# The state in which Optuna is told of a trial without a value. TPE takes what was pruned for bad, and does not look at
# what has failed: it would ask for the neighbours again, as for a region that nobody has seen.
FAILED = "PRUNED"


def optuna_or_error() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        error.add_note("  hint: trials are asked of Optuna: pip install 'jaxnn[search]'")
        raise
    return optuna


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Without what Optuna logs of every study; warnings are let through."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


@contextmanager
def lent(study: Any) -> Iterator[None]:
    """The study has its own sampler again in the end."""
    sampler = study.sampler
    try:
        yield
    finally:
        study.sampler = sampler


def study_for(optuna: Any, study: Any, mode: Mode) -> Any:
    """Return the study if it is one for this mode, or one in memory."""
    direction = {"min": "minimize", "max": "maximize"}[mode]
    if study is None:
        with quiet(optuna):
            return optuna.create_study(direction=direction)
    if not isinstance(study, optuna.study.Study):
        raise TypeError(f"expected study as one of Optuna, because trials are asked of it; got {describe(study)}\n"
                        "  hint: optuna.create_study(study_name=..., storage=..., load_if_exists=True)")  # fmt: skip
    got = [each.name.lower() for each in study.directions]
    if got != [direction]:
        raise ValueError(f"expected a study to {direction}, because mode is {mode!r}; got one to {' and '.join(got)}\n"
                         f"  hint: optuna.create_study(direction={direction!r})")  # fmt: skip
    return study


def translated(optuna: Any, distribution: Distribution) -> Any:
    """Return Optuna's distribution; options other than words and distinct numbers are there by their places."""
    of = optuna.distributions
    match distribution:
        case Uniform(low, high):
            return of.FloatDistribution(low, high)
        case LogUniform(low, high):
            return of.FloatDistribution(low, high, log=True)
        case Integer(low, high):
            return of.IntDistribution(int(low), int(high))
        case Choice(options):
            options = np.asarray(options).tolist() if is_array(options) else list(options)
            named = all(isinstance(option, str) for option in options)
            numbers = all(type(option) in (int, float) for option in options)
            distinct = (named or numbers) and len(set(options)) == len(options)
            return of.CategoricalDistribution(options if distinct else range(len(options)))
    raise TypeError(distribution)


@final
class Asking:
    """A study that trials are asked of, and told; what the ledger knows of them is not asked again.

    What is asked are numbers by name of the hyperparameter, as Optuna itself keeps them: of a choice it is the place
    among its options. With a ledger each trial of the study says which one of this search it is, for one that was
    killed may be there already.
    """

    def __init__(
        self, optuna: Any, study: Any, of: Mapping[str, Any], key: Key, sampler: Callable[..., Any], *, kept: bool
    ) -> None:
        self._optuna, self._study, self._of, self._sampler, self._kept = optuna, study, dict(of), sampler, kept
        self._key = np.asarray(jax.random.key_data(key)).ravel().tolist()
        self._numbers: dict[int, int] = {}  # in the study, of trials that are not told yet
        self._earlier = self._of_this_search() if kept else {}

    def ask(self, trial: int, known: dict[str, float] | None, values: Mapping[int, float | None]) -> dict[str, float]:
        """Return what to try, which is what is known of the trial if anything is; it is told at once if its value is.

        Args:
            trial: Its number in this search.
            known: What was asked before.
            values: The trials of a finished batch.
        """
        earlier = self._earlier.get(trial)
        if earlier is not None and (self._internal(earlier.params) == known or (known is None and _running(earlier))):
            if _running(earlier):
                self._numbers[trial] = earlier.number
            if trial in values:
                self.tell(trial, values[trial])
            return self._internal(earlier.params)
        if known is not None:
            self._add(trial, known, values)
            return known
        self._study.sampler = self._seeded(trial)
        new = self._study.ask(self._of)
        if self._kept:
            new.set_user_attr(_MARK, self._mark(trial))
        self._numbers[trial] = new.number
        return self._internal(new.params)

    def tell(self, trial: int, value: float | None) -> None:
        """Tell the value of a trial, `None` if it failed, unless the study has it."""
        number = self._numbers.pop(trial, None)
        if number is None:
            return
        if value is None:
            self._study.tell(number, state=self._optuna.trial.TrialState[FAILED])
        else:
            self._study.tell(number, value)

    def _add(self, trial: int, known: Mapping[str, float], values: Mapping[int, float | None]) -> None:
        value = values.get(trial)
        state = "RUNNING" if trial not in values else FAILED if value is None else "COMPLETE"
        params = {name: self._of[name].to_external_repr(number) for name, number in known.items()}
        added = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState[state],
            value=value,
            params=params,
            distributions=self._of,
            user_attrs={_MARK: self._mark(trial)},
        )
        self._study.add_trial(added)
        if trial not in values:
            self._numbers[trial] = self._of_this_search()[trial].number

    def _seeded(self, trial: int) -> Any:
        (seed,) = np.random.SeedSequence([*self._key, trial]).generate_state(1).tolist()
        with warnings.catch_warnings():  # which would come for every trial
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(seed=seed)
        if not isinstance(sampler, self._optuna.samplers.BaseSampler):
            raise TypeError(f"expected sampler as a function that makes a sampler of Optuna; got one that makes "
                            f"{sampler!r}")  # fmt: skip
        return sampler

    def _mark(self, trial: int) -> list[int]:
        return [*self._key, trial]

    def _of_this_search(self) -> dict[int, Any]:
        """What the study has of this search: the last of each trial, if more than one process has asked for it."""
        marked = {}
        for each in self._study.get_trials(deepcopy=False):
            *key, trial = each.user_attrs.get(_MARK, (None,))
            if key == self._key and each.distributions == self._of:
                marked[trial] = each
        return marked

    def _internal(self, params: Mapping[str, Any]) -> dict[str, float]:
        return {name: float(of.to_internal_repr(params[name])) for name, of in self._of.items()}


def _running(trial: Any) -> bool:
    return not trial.state.is_finished()
