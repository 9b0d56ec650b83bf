"""MIPROv2 (arXiv 2406.11695) as dspy 3.4 runs it, on our arena: which instruction goes with which examples, found by TPE on small batches.

Kept as published: the numbers of candidates and trials, fresh batches of 35 that are not paired, every fifth trial a full judgement of the
best combination that had none. Ours: proposals of all proposers, guards, one budget, and a search that goes on after a kill.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin, Proposer
from pp_assets.prompts.search.account import BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.halving import LEAST
from pp_assets.prompts.search.strategy import Guards, Intake, Rows, in_turn, rank
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example

if TYPE_CHECKING:
    import optuna

PRESETS = ((18, 1000), (12, 300), (6, 100))  # heavy, medium, light: demonstration sets (instructions are half as many), most rows
BATCH, EVERY = 35, 5  # rows of a trial, trials between full judgements
WHOLE = 50  # with so few rows every trial is a full judgement
TRAIN = 24  # training rows that the start is judged on, for those who learn from mistakes
Pair = tuple[int, int]
"""(place of the instruction, place of the examples); 0 is that of the start."""


class Plan(NamedTuple):
    """`sets` of examples, half as many instructions; `trials`; `rows` to choose by."""

    sets: int
    trials: int
    rows: int


def plan(left: int, rows: int) -> Plan:
    """The largest preset that so many calls pay for; where not even the light one is, that with fewer rows."""
    found = Plan(0, 0, 0)
    for sets, most in PRESETS:
        found = Plan(sets, trials(sets), min(rows, most))
        if TRAIN + found.rows + calls(found.trials, found.rows) <= left:
            return found
    return found._replace(rows=min(found.rows, max(LEAST, left // 8)))


def trials(sets: int) -> int:
    """That of dspy for one predictor with instructions and examples: 10, 18 and 27."""
    return int(max(2 * 2 * math.log2(sets), 1.5 * sets))


def calls(count: int, rows: int) -> int:
    """The most calls of so many trials, their full judgements among them; where rows come again there are fewer."""
    return count * rows if rows <= WHOLE else count * BATCH + (count // EVERY + 1) * rows


@dataclass(frozen=True)
class Mipro:
    """The trials of the largest plan that the budget pays for; `until` ends them when it holds for the best candidate on all rows."""

    until: Callable[[Judged], bool] = lambda _best: False
    name: str = "mipro"

    def search(
        self, arena: Arena, ground: Ground, start: Candidate, proposers: Sequence[Proposer], rows: Rows, *, seed: int, guards: Guards
    ) -> list[Judged]:
        wanted = plan(arena.left, len(rows.val))
        now = _Trials(arena, Intake(arena, ground, guards, {start.id: start}), rows.val[: wanted.rows], seed)
        try:
            now.begin(start)
            parent = arena.judge(start, rows.train[:TRAIN], "train")
            now.collect(in_turn(proposers, ground, [parent], 3 * wanted.sets // 2, seed, 0), wanted.sets)
            # The last full judgement decides: there are as many trials as leave enough for it.
            now.run(max((n for n in range(wanted.trials + 1) if calls(n, len(now.rows)) <= arena.left), default=0), self.until)
        except BudgetSpent as spent:
            arena.on_event({"event": "budget spent", "why": str(spent)})
        return now.best


@dataclass
class _Trials:
    """`means` holds by combination what its batches scored; `full` the judgements on all rows, by candidate."""

    arena: Arena
    intake: Intake
    rows: Sequence[Example]
    seed: int
    full: dict[str, Judged] = field(default_factory=dict)
    instructions: list[Candidate] = field(default_factory=list)
    examples: list[Candidate] = field(default_factory=list)
    means: dict[Pair, list[float]] = field(default_factory=dict)
    made: dict[Pair, Candidate | None] = field(default_factory=dict)

    def begin(self, start: Candidate) -> None:
        self.full[start.id] = self.arena.judge(start, self.rows)
        self.instructions, self.examples, self.made = [start], [start], {(0, 0): start}

    def collect(self, proposed: Iterator[Candidate], sets: int) -> None:
        """Proposals with the start's words give their examples, the others their words."""
        own = _words(self.instructions[0])
        for one in proposed:
            if _words(one) == own:
                among, most, twin = self.examples, sets, any(one.wording.shots == each.wording.shots for each in self.examples)
            else:
                among, most, twin = self.instructions, sets // 2, any(_words(one) == _words(each) for each in self.instructions)
            if len(among) < most and not twin:
                among.extend(self.intake.admit([one], 0))

    @property
    def best(self) -> list[Judged]:
        return sorted(self.full.values(), key=rank)

    def run(self, count: int, until: Callable[[Judged], bool]) -> None:
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = self._study()
        told, refused = 0, 0
        while told < count and refused < 3 * count and not until(self.best[0]):
            trial = study.ask(self._space())
            pair = (trial.params["instruction"], trial.params["examples"])
            candidate = self._combined(pair)
            if candidate is None:
                refused += 1
                study.tell(trial, state=TrialState.FAIL)
                continue
            score = self._batch(candidate, told)
            study.tell(trial, score)
            self.means.setdefault(pair, []).append(score)
            told += 1
            if told % EVERY == 0 or told == count:
                self._judge_best(study, told)

    def _study(self) -> "optuna.Study":
        import optuna
        from optuna.exceptions import ExperimentalWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=int(generator(self.seed, "mipro").integers(2**31)), multivariate=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        self._tell(study, (0, 0), next(iter(self.full.values())))
        return study

    def _space(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        from optuna.distributions import CategoricalDistribution

        return {
            "instruction": CategoricalDistribution(tuple(range(len(self.instructions)))),
            "examples": CategoricalDistribution(tuple(range(len(self.examples)))),
        }

    def _batch(self, candidate: Candidate, trial: int) -> float:
        rows = list(self.rows)
        if len(rows) > WHOLE:
            drawn = generator(self.seed, "batch", str(trial)).permutation(len(rows))[:BATCH]
            return self.arena.judge(candidate, [rows[i] for i in drawn]).score
        self.full[candidate.id] = self.arena.judge(candidate, rows)
        return self.full[candidate.id].score

    def _judge_best(self, study: "optuna.Study", told: int) -> None:
        """The combination with the best mean that was not judged on all rows is; TPE hears of it."""
        open_ = {pair: float(np.mean(scores)) for pair, scores in self.means.items() if self._id(pair) not in self.full}
        if open_:
            best = max(open_, key=lambda pair: (open_[pair], -pair[0], -pair[1]))
            candidate = self.made[best]
            assert candidate is not None
            self.full[candidate.id] = judged = self.arena.judge(candidate, self.rows)
            self._tell(study, best, judged)
        top = self.best[0]
        event = {"event": "round", "round": told // EVERY, "best": top.candidate.id, "score": top.score}
        self.arena.on_event({**event, "tried": len(self.means), **self.arena.spent})

    def _tell(self, study: "optuna.Study", pair: Pair, judged: Judged) -> None:
        from optuna.trial import create_trial

        params = {"instruction": pair[0], "examples": pair[1]}
        study.add_trial(create_trial(params=params, distributions=self._space(), value=judged.score))

    def _combined(self, pair: Pair) -> Candidate | None:
        """The instruction with the examples; None where a guard speaks against it."""
        if pair not in self.made:
            words, shown = self.instructions[pair[0]], self.examples[pair[1]]
            origin = Origin("mipro", (words.id, shown.id), f"Instruction {pair[0]} with examples {pair[1]}.")
            spec = self.arena.spec
            made = Candidate.of(spec, replace(words.wording, shots=shown.wording.shots), origin)
            same = next((one for one in (words, shown) if one.id == made.id), None)
            self.made[pair] = same or next(iter(self.intake.admit([made], 1)), None)
        return self.made[pair]

    def _id(self, pair: Pair) -> str:
        candidate = self.made[pair]
        return candidate.id if candidate else ""


def _words(one: Candidate) -> Wording:
    return replace(one.wording, shots=())
