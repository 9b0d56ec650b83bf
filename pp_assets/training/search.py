"""Hyper-parameter search: trials of a recipe, drawn by TPE, stopped early by the median of the others, kept in a SQLite file.

Trial n draws from a sampler that is seeded by (seed, n) and by the trials before it, never by the time or by an interruption: a search that
was killed, or that is given more trials later, goes on exactly as one that was not.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.resampling import bootstrap_weights
from pp_assets.evaluation.tables import Table
from pp_assets.training.recipes import Recipe
from pp_assets.training.space import Range, as_params, space_of, start_of
from pp_resources.errors import UserError
from pp_resources.progress import steps

if TYPE_CHECKING:
    import optuna

DRAWN = 6  # trials that are drawn blindly, the recipe's own among them, before TPE has something to model
# Schedules differ in length, so trials are compared at equal shares of their own; before the third tenth nothing is known.
TENTHS, WARM_UP = 10, 2


@dataclass(frozen=True)
class Budget:
    """A search ends after so many trials, or when the trials have taken so many minutes in all; whichever comes first."""

    trials: int
    minutes: float | None = None

    def spent(self, trials: "Sequence[Trial]") -> bool:
        late = self.minutes is not None and sum(t.seconds for t in trials) >= 60 * self.minutes
        return late or len(trials) >= self.trials


@dataclass(frozen=True)
class Trial:
    """One training. `params` are those of the space; `value` (of the task's primary metric) and `loss` those of its best epoch on the
    validation rows.

    `outcome` is "done", "stopped" (it did worse than the median of the others), or the error that ended it.
    """

    number: int
    outcome: str
    params: Mapping[str, Any]
    value: float | None
    loss: float | None
    epochs: int
    seconds: float


class Stopped(Exception):
    """This trial does worse than the median of the others at the same share of its schedule."""


Report = Callable[[Mapping[str, Any], int], None]
"""Hears of each epoch's metrics and of how many epochs there may be. Raises Stopped."""
Train = Callable[[int, dict[str, Any], Report], object]
"""Trains with these parameters: (number of the trial, parameters, who must hear of each epoch)."""


def score(value: float, loss: float, rows: int) -> float:
    """The metric (more is better), ties by loss: the loss moves it by less than one of these rows does."""
    return value + 1 / (1 + max(loss, 0.0)) / (2 * rows) if math.isfinite(loss) else value


class Search:
    """The trials of one recipe, in `file`; its own parameters are always the first. `rows` are those of validation; `sign` is -1 where
    less of the metric is better."""

    def __init__(self, file: Path, recipe: Recipe, *, seed: int, rows: int, sign: int = 1) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.recipe, self.seed, self.rows, self.sign = recipe, seed, rows, sign
        self.space = space_of(recipe)
        self.start = start_of(recipe, self.space)
        file.parent.mkdir(parents=True, exist_ok=True)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=DRAWN - 2, n_warmup_steps=WARM_UP)
        name, storage = "search", f"sqlite:///{file}"
        self.study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="maximize", pruner=pruner)

    @property
    def trials(self) -> list[Trial]:
        """Those that came to an end, in order; one that was killed is made again and does not count."""
        return [_trial(number, frozen) for number, frozen in enumerate(self._ended())]

    def run(self, budget: Budget, train: Train, on_trial: Callable[[Trial], None]) -> None:
        """Trials until the budget is spent. One whose training is refused (a loss that is not finite) is kept with its error; the first
        one's error comes out."""
        import optuna

        for left in self.study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            self.study.tell(left.number, state=optuna.trial.TrialState.FAIL)
        with steps("trials", budget.trials, len(self.trials)) as advance:
            while not budget.spent(self.trials):
                self._one(len(self.trials), train)
                on_trial(self.trials[-1])
                told = [self.sign * t.value for t in self.trials if t.value is not None]
                advance(f"best {self.sign * max(told):.3f}")

    def best(self) -> Trial:
        """The finished trial with the best score; the first one while none has a better value, since losses depend on the settings."""
        done = [(t, frozen.value) for t, frozen in zip(self.trials, self._ended()) if t.outcome == "done"]
        (best, _), (first, _) = max(done, key=lambda pair: (pair[1], -pair[0].number)), done[0]
        assert best.value is not None and first.value is not None
        return best if self.sign * best.value > self.sign * first.value else first

    def importances(self) -> dict[str, float]:
        """Share of the variance of the score that each parameter explains (fANOVA); empty while there is too little to tell."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        done = {t.value for t in self.study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"}
        if len(done) < DRAWN:
            return {}
        return {k: round(float(v), 4) for k, v in get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0)).items()}

    def _one(self, number: int, train: Train) -> None:
        from optuna.trial import TrialState

        self.study.sampler = self._sampler(number)
        trial = self.study.ask({name: _distribution(allowed) for name, allowed in self.space.items()})
        params, watch, began = as_params(self.recipe, trial.params), _Watch(trial, self.rows, self.sign), time.monotonic()
        state, outcome = TrialState.COMPLETE, "done"
        try:
            train(number, params, watch)
        except Stopped:
            state, outcome = TrialState.PRUNED, "stopped"
        except UserError as error:
            if not number:
                raise
            state, outcome = TrialState.PRUNED, str(error)
        facts = {"outcome": outcome, "params": params, "epochs": watch.epochs, "seconds": round(time.monotonic() - began, 2)}
        for name, value in (facts | {"value": watch.value, "loss": watch.loss}).items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, watch.best if outcome == "done" else None, state=state)

    def _sampler(self, number: int) -> Any:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import PartialFixedSampler, TPESampler

        tpe = TPESampler(n_startup_trials=DRAWN, seed=int(generator(self.seed, "trial", str(number)).integers(2**31)))
        if number:
            return tpe
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PartialFixedSampler(self.start, tpe)

    def _ended(self) -> "list[optuna.trial.FrozenTrial]":
        return [t for t in self.study.get_trials(deepcopy=False) if t.state.name in ("COMPLETE", "PRUNED")]


@dataclass
class _Watch:
    """Hears of a trial's epochs and tells Optuna, at each tenth of the schedule, the score of the epoch that would be kept."""

    trial: "optuna.Trial"
    rows: int
    sign: int
    best: float = -math.inf
    value: float | None = None
    loss: float | None = None
    epochs: int = 0
    told: int = 0

    def __call__(self, entry: Mapping[str, Any], of: int) -> None:
        value, loss, self.epochs = entry["val_primary"], entry["val_loss"], entry["epoch"]
        if entry["best_epoch"] == self.epochs:
            self.best, self.value, self.loss = score(self.sign * value, loss, self.rows), value, loss if math.isfinite(loss) else None
        reached = TENTHS * self.epochs // of
        for tenth in range(self.told + 1, reached + 1):
            self.trial.report(self.best, tenth)
        self.told = max(self.told, reached)
        if self.trial.should_prune():
            raise Stopped


def corrected_gain(tables: Sequence[Table], clusters: Clusters, seed: int, sign: int = 1) -> tuple[float, float, float]:
    """What choosing the best of several systems gains over the first one on rows that did not choose: (mean, low, high) in 95 %, in units
    of the metric.

    A table of the same metric for each system, over the same rows; `sign` as in a search. The choice is made on the groups that a
    resample draws and judged on those it leaves out (bootstrap bias correction, Tsamardinos et al. 2018).
    """
    weights = bootstrap_weights(clusters.count, generator(seed, "choice"))
    sums = [clusters.sums(table.counts) for table in tables]
    drawn, left = (
        np.stack([table.value(chosen.astype(np.float64) @ each) for table, each in zip(tables, sums)], axis=1)
        for chosen in (weights, weights == 0)
    )
    best = np.nan_to_num(sign * drawn, nan=-np.inf).argmax(axis=1)
    gains = np.take_along_axis(left, best[:, None], axis=1)[:, 0] - left[:, 0]
    gains = gains[np.isfinite(gains)]
    low, high = np.quantile(gains, [0.025, 0.975]) if len(gains) else (0.0, 0.0)
    return (float(gains.mean()) if len(gains) else 0.0), float(low), float(high)


def _distribution(allowed: Range | tuple[Any, ...]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return FloatDistribution(allowed.low, allowed.high, log=True) if isinstance(allowed, Range) else CategoricalDistribution(allowed)


def _trial(number: int, frozen: "optuna.trial.FrozenTrial") -> Trial:
    told = frozen.user_attrs
    return Trial(number, told["outcome"], told["params"], told["value"], told["loss"], told["epochs"], told["seconds"])
