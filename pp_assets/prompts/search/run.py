"""One search from start to ruling: proposals, choice, and the test of the one that was chosen. Knows no task folder and no store."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pp_assets.evaluation.scoring import UNPAIRED, metric_names
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin, Proposer
from pp_assets.prompts.search.account import Account, Budget, BudgetSpent
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.gate import UNLIMITED, Limits, Ruling, rule, scored, untested, worth_testing
from pp_assets.prompts.search.pareto import Point, pareto
from pp_assets.prompts.search.strategy import Guards, Rows, Strategy
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError, nearest

_RULE = re.compile(r"\s*([\w.]+)\s*(>=|<=)\s*([-+]?[0-9.]+(?:e[-+]?\d+)?)\s*", re.ASCII)


class Held(NamedTuple):
    """Test rows that are opened at most once, when there is somebody to test: how many, and what opens them."""

    size: int
    open: Callable[[], Sequence[Example]]


@dataclass(frozen=True)
class Until:
    """A stop rule: the search ends when the best candidate's `metric` on the rows to choose by reaches `value`."""

    metric: str
    op: str
    value: float

    @classmethod
    def of(cls, spec: TaskSpec, text: str) -> "Until":
        """From text such as ``object_exact_match>=0.9``. Raises UserError."""
        found = _RULE.fullmatch(text)
        if not found:
            raise UserError(f"{text!r} is no stop rule", where="until", how="give METRIC>=NUMBER, such as object_exact_match>=0.9")
        known = [name for name in metric_names(spec.output_schema) if name not in UNPAIRED]
        if found[1] not in known:
            raise UserError(f"no metric {found[1]!r}", where="until", how=nearest(found[1], known))
        return cls(found[1], found[2], float(found[3]))

    def reached(self, spec: TaskSpec, one: Judged) -> bool:
        table = scored(spec, one).tables[self.metric]
        value = float(table.value(table.counts.sum(0)))
        return not np.isnan(value) and (value >= self.value if self.op == ">=" else value <= self.value)


@dataclass(frozen=True)
class Found:
    """What a search found. `best` is the first finalist; `tested` are its and the start's answers to the test rows, None where the test
    split was not opened. `spent` and `test_spent` are counts of calls, tokens and dollars; `test_seconds` is what the test took."""

    start: Candidate
    finalists: Sequence[Judged]
    points: Sequence[Point]
    ruling: Ruling
    rows: Rows
    spent: dict[str, Any]
    test_spent: dict[str, Any]
    tested: tuple[Judged, Judged] | None = None
    test_seconds: float = 0.0

    @property
    def best(self) -> Candidate:
        return self.finalists[0].candidate


def find_prompt(
    arena: Arena,
    ground: Ground,
    rows: Rows,
    held: Held,
    *,
    strategy: Strategy,
    proposers: Sequence[Proposer],
    guards: Guards,
    seed: int = 0,
    limits: Limits = UNLIMITED,
    start: Wording | None = None,
    ledger: Path | None = None,
) -> Found:
    """Search, then test. `ground` shows the training rows of `rows`; `start` is the wording to beat, default the task's own. The test is
    paid for beside the budget of calls, and within those of tokens and dollars; its calls are counted in `ledger`."""
    spec = arena.spec
    first = Candidate.of(spec, start or Wording.of(spec), Origin("seed"))
    told = {"candidate": first.id, "source": "seed", "parents": [], "note": "", "by": ""}
    sizes = {"train": len(rows.train), "val": len(rows.val)}
    arena.on_event({"event": "start", **told, "strategy": strategy.name, **sizes, "goes_on": arena.account.goes_on})
    finalists = strategy.search(arena, ground, first, proposers, rows, seed=seed, guards=guards)
    spent = arena.spent
    for one in finalists:
        arena.on_event({"event": "finalist", "candidate": one.candidate.id, "rows": len(one.rows), "score": one.score})
    chosen, why = worth_testing(finalists, first.id)
    began = time.perf_counter()
    test = Account(_rest(arena.account), ledger)
    tested: tuple[Judged, Judged] | None = None
    if chosen is not None and (short := _too_dear(arena.account, held.size)):
        chosen, why = None, short
    if chosen is None:
        ruling = untested(why)
    else:
        arena.on_event({"event": "chosen", "candidate": chosen.candidate.id})
        opened = held.open()
        try:
            with arena.charged(test) as ring:
                tested = ring.judge(chosen.candidate, opened, "test"), ring.judge(first, opened, "test")
            ruling = rule(spec, *tested, limits)
        except BudgetSpent as over:
            ruling = Ruling("NOT PROVEN", (f"The test was not finished: {over}.",), True)
    arena.on_event({"event": "gate", "verdict": ruling.label, "reasons": list(ruling.reasons), "tested": ruling.tested})
    points = pareto(finalists, arena.reader)
    paid, took = {"calls": test.calls, "tokens": test.tokens, "cost_usd": test.cost}, time.perf_counter() - began
    return Found(first, finalists, points, ruling, rows, spent, paid, tested, took)


def _rest(account: Account) -> Budget:
    most = account.budget
    tokens = None if most.tokens is None else max(0, most.tokens - account.tokens)
    return Budget(None, tokens, None if most.usd is None else max(0.0, most.usd - (account.cost or 0.0)))


def _too_dear(account: Account, rows: int) -> str:
    """Why the test cannot be paid for; "" where it can, as far as one knows."""
    each, rest = max(1, account.calls), _rest(account)
    for what, most, spent in (("tokens", rest.tokens, float(account.tokens)), ("US dollars", rest.usd, account.cost or 0.0)):
        if most is not None and 2 * rows * spent / each > most:
            return f"A test on {rows} rows would take about {2 * rows * spent / each:.4g} {what}, and {most:.4g} are left."
    return ""
