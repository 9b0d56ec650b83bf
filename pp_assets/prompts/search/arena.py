"""Where candidates are judged: each row is asked once of each, and every call is counted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import make_rows
from pp_assets.evaluation.scoring import Scoring, score_rows
from pp_assets.evaluation.tables import item_values, lower_is_better, of_answers
from pp_assets.experiment.store import CellStore
from pp_assets.kept import KeptPredictor
from pp_assets.prompts.candidate import Candidate, Judged
from pp_assets.prompts.prompted import Target
from pp_assets.prompts.search.account import Account, Budget, refuse_unpriced
from pp_assets.result_facts import libraries
from pp_assets.sources import source_digest
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows as score_by_contract
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

BATCH, BATCHES = 8, 8  # rows that are asked at once, of which two lots may be in flight; lots between two looks at the budget
READY = 16  # models behind wordings that are kept at hand
Event = Mapping[str, Any]
Hear = Callable[[Event], None]
Split = Literal["train", "val", "test"]  # what rows are for: to learn from, to choose by, to test


def answering_code() -> str:
    """Version of the code and the libraries that answer behind a wording."""
    return f"{source_digest('pp_assets.prompts.prompted')} {libraries()}"


class Arena:
    """Judges candidates on a target, within a budget. What it asks is kept in `file` (cells), so that a search that was killed goes on and
    a candidate is asked nothing twice; `ledger` (a file of its own for each search) makes its counts the same after a kill.

    `account` is shared where several things of a search buy. `helpers` are what the contract's nodes ask (`asked.helpers`); without them
    these have no score. `batch` rows are asked at once. `on_event` hears {"event": "judged", …} of each judgement. Raises UserError for a
    budget in dollars where the target's price is not known.
    """

    def __init__(
        self,
        spec: TaskSpec,
        target: Target,
        file: Path,
        *,
        contract: Contract | None = None,
        budget: Budget | None = None,
        ledger: Path | None = None,
        account: Account | None = None,
        helpers: Mapping[str, Any] | None = None,
        batch: int = BATCH,
        on_event: Hear = lambda _event: None,
    ) -> None:
        self.spec, self.target, self.contract, self.batch, self.on_event = spec, target, contract, batch, on_event
        self.account = account or Account(budget or Budget(), ledger)
        if self.account.budget.usd is not None:
            refuse_unpriced(target)
        self.store, self.scoring = CellStore(file), Scoring.of(spec)
        self._helpers = dict(helpers or {})
        self._answers: dict[tuple[str, str], Prediction] = {}
        self._models: dict[str, KeptPredictor] = {}
        self._version = answering_code()

    @property
    def calls(self) -> int:
        """Model calls of this search so far, those before a kill among them."""
        return self.account.calls

    @property
    def tokens(self) -> int:
        return self.account.tokens

    @property
    def cost(self) -> float | None:
        """US dollars; None where a price is not known."""
        return self.account.cost

    @property
    def left(self) -> int:
        """Calls that may still be made."""
        return self.account.left

    def calls_for(self, candidate: Candidate, rows: Sequence[Example]) -> int:
        """How many calls `judge` would make, those among them that were made before a kill."""
        return len(self._owed(candidate, [row.input_text for row in rows])[0])

    def judge(self, candidate: Candidate, rows: Sequence[Example], split: Split = "val") -> Judged:
        """Answers and scores of a candidate on rows of different ids, all of one split. Raises BudgetSpent before the first call
        where they are too many, or later where tokens or dollars run out; what was answered is kept."""
        texts, before = [row.input_text for row in rows], self.calls
        self._ask(candidate, texts)
        answers = [self._answers[candidate.id, text] for text in texts]
        scores = self.scores(rows, answers)
        judged = Judged(candidate, tuple(rows), tuple(answers), scores, self.dimensions(rows, answers))
        mean = float(scores.mean()) if len(rows) else None
        told = {"event": "judged", "candidate": candidate.id, "split": split, "rows": len(rows), "score": mean}
        self.on_event({**told, "new": self.calls - before, **self.spent})
        return judged

    @property
    def spent(self) -> dict[str, Any]:
        """Counts so far, as plain values."""
        return {"calls": self.calls, "tokens": self.tokens, "cost_usd": self.cost}

    def scores(self, rows: Sequence[Example], answers: Sequence[Prediction]) -> np.ndarray:
        """What each answer scores by the primary metric, (rows,) in 0..1, more is better. Where an item has no value of its own (macro F1),
        whether the field is equal counts; where it does not count by the metric, whether the whole object is equal."""
        if not rows:
            return np.zeros(0)
        scored = score_rows(self.scoring, make_rows(rows, answers, self._dump), self.reader)
        metric = of_answers(self.scoring.primary)
        if metric not in scored.tables or scored.tables[metric].kind != "ratio":
            metric = metric.replace("field_f1.", "field_exact.")
        values, whole = item_values(scored.tables[metric]), scored.exact.astype(float)
        values = np.where(np.isnan(values), whole, 1 - values if lower_is_better(metric) else values)
        place = {row.item_id: i for i, row in enumerate(scored.rows)}
        found: np.ndarray = values[[place[row.item_id] for row in rows]]
        return found

    def dimensions(self, rows: Sequence[Example], answers: Sequence[Prediction]) -> dict[str, np.ndarray]:
        """By dimension of the contract what each answer scores, (rows,), NaN for none. Empty without a contract."""
        if self.contract is None:
            return {}
        asked = [Row(e.input_text, said.text, e.output) for e, said in zip(rows, answers, strict=True)]
        found = score_by_contract(self.contract, asked, **self._helpers).dimensions
        return {dimension.label: found[:, j] for j, dimension in enumerate(self.contract.dimensions)}

    @contextmanager
    def charged(self, account: Account) -> Iterator["Arena"]:
        """The same arena, with what is bought in this context on another account."""
        before, self.account = self.account, account
        try:
            yield self
        finally:
            self.account = before

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> "Arena":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @cached_property
    def reader(self) -> OutputReader:
        """What reads answers; equal ones are read once."""
        return OutputReader(self.scoring.schema, self.scoring.compare)

    def _dump(self, output: Any) -> str:
        return dump_output(self.spec.output_schema, output)

    def _kept(self, candidate: Candidate) -> KeptPredictor:
        if candidate.id not in self._models:
            if len(self._models) >= READY:
                self._models.pop(next(iter(self._models)))
            model = self.target.behind(self.spec, candidate.wording, candidate.id)
            self._models[candidate.id] = KeptPredictor(self.store, model, self._version, batch=self.batch)
        return self._models[candidate.id]

    def _owed(self, candidate: Candidate, texts: Sequence[str]) -> tuple[dict[str, str], list[str], KeptPredictor]:
        """(text → key of those that are to be counted, texts that are kept or were counted, who answers)."""
        kept = self._kept(candidate)
        new = [text for text in dict.fromkeys(texts) if (candidate.id, text) not in self._answers]
        missing = set(kept.unknown(new))
        keys = {text: digest([kept.model.identity, self._version, text], ordered=True)[:32] for text in new}
        owed = {text: key for text, key in keys.items() if self.account.owed(key, text not in missing)}
        return owed, [text for text in new if text not in owed], kept

    def _ask(self, candidate: Candidate, texts: Sequence[str]) -> None:
        owed, free, kept = self._owed(candidate, texts)
        self.account.afford(len(owed))
        self._remember(candidate, free, kept)
        waiting, price = list(owed), self.target.price
        while waiting:
            some = waiting[: self._next]
            self.account.afford(len(some))
            self.account.intend([owed[text] for text in some])
            self._remember(candidate, some, kept)
            for text in some:
                said = self._answers[candidate.id, text]
                self.account.count(owed[text], said.tokens_in, said.tokens_out, price)
            waiting = waiting[len(some) :]

    @property
    def _next(self) -> int:
        """How many to ask before looking at the budget again: what a call takes has to be seen before many are made."""
        if self.account.budget.tokens is None and self.account.budget.usd is None:
            return BATCHES * self.batch
        return self.batch if self.calls else 1

    def _remember(self, candidate: Candidate, texts: Sequence[str], kept: KeptPredictor) -> None:
        for text, said in zip(texts, kept.predict(texts), strict=True):
            self._answers[candidate.id, text] = said
