"""Answers to changed inputs beside the answers to the same inputs as they are: what it costs, how often an answer flips."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.compare import compare_scored
from pp_assets.evaluation.outputs import Answer, OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.scoring import Scored, Scoring, score_rows
from pp_assets.evaluation.stats.groups import Clusters
from pp_assets.evaluation.stats.intervals import proportion_interval
from pp_assets.evaluation.stats.multiplicity import holm
from pp_assets.evaluation.suite.spans import Change, map_copied, map_strings, mark_copied
from pp_resources.json_schema import Schema, dump_output

MARGIN = 0.05  # of whole objects right, and of answers that flip: less than this is borne
LEVEL = 0.95
RIGHT, FIELDS = "object_exact_match", "field_exact_mean"
HOLDS, UNKNOWN = "holds", "cannot tell"


@dataclass(frozen=True)
class Pair:
    """An item as it is (`clean`) and changed, with what is expected of each.

    `change` is made in the copied values of the clean answer before the two are compared. Where the other side has an `undo`, the two put
    the same marks for different words, and that in every string: a value that is copied in fact changes with its text, marked or not.
    """

    id: str
    clean: PredictionRow
    text: str
    expected: str
    output: str
    change: Change | None = None
    undo: Change | None = None


@dataclass(frozen=True)
class Paired:
    """What a kind of change does, over pairs; `effect` is the share of whole objects right after it less that before, with `low`, `high`.

    `lost` pairs were right before the change only, `gained` after it only. `flips` is the share of answers that are not the clean answer
    with the change made in it, right or wrong; `flip_floor` bounds it from below as one of several that are looked at together
    (Bonferroni). `fields_*` is the share of fields right.
    """

    n: int
    groups: int
    clean: float | None
    changed: float | None
    effect: float | None
    low: float | None
    high: float | None
    p_value: float | None
    lost: int
    gained: int
    test: str
    flips: float
    flip_low: float | None
    flip_high: float | None
    flip_floor: float | None
    fields_clean: float | None
    fields_changed: float | None
    fields_low: float | None
    fields_high: float | None
    p_holm: float | None = None
    verdict: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Judge:
    """Scores pairs by the rules of one task. `schema` is that of the output with what is copied in fact marked as copied; `copied` are
    the paths of fields that the task itself does not mark."""

    scoring: Scoring
    reader: OutputReader
    schema: Schema
    copied: Sequence[str] = ()

    @classmethod
    def of(cls, spec: Any, rows: Iterable[tuple[str, Any]] = ()) -> "Judge":
        """`rows` are inputs and outputs of the data, which tell what is copied."""
        scoring = Scoring.of(spec)
        return cls(scoring, OutputReader(scoring.schema, scoring.compare), *mark_copied(scoring.schema, rows))

    def compare(self, pairs: Sequence[Pair], together: int = 1) -> Paired:
        """Pairs of one kind of change, of `together` kinds that are looked at. Several pairs of one item are of its group, which is
        resampled and permuted whole."""
        pairs = sorted(pairs, key=lambda pair: pair.id)
        before = self.scored([replace(pair.clean, item_id=pair.id) for pair in pairs])
        after = self.scored([replace(pair.clean, item_id=pair.id, expected=pair.expected, output=pair.output) for pair in pairs])
        # One question for the test: an expected value that has changed with the text is still the same item.
        after = replace(after, rows=before.rows)
        found, fields = compare_scored(after, before, RIGHT, level=LEVEL), compare_scored(after, before, FIELDS, level=LEVEL)
        flipped = np.array([self.flipped(pair) for pair in pairs], dtype=float)
        flips = proportion_interval(flipped, before.clusters, LEVEL)
        surely = proportion_interval(flipped, before.clusters, 1 - (1 - LEVEL) / together)
        return Paired(
            n=found.n,
            groups=found.groups,
            clean=found.other_value,
            changed=found.value,
            effect=found.effect,
            low=found.low,
            high=found.high,
            p_value=found.p_value,
            lost=found.only_other or 0,
            gained=found.only_candidate or 0,
            test=found.test,
            flips=float(flipped.mean()),
            flip_low=flips.low,
            flip_high=flips.high,
            flip_floor=surely.low,
            fields_clean=fields.other_value,
            fields_changed=fields.value,
            fields_low=fields.low,
            fields_high=fields.high,
        )

    def scored(self, rows: Sequence[PredictionRow]) -> Scored:
        return score_rows(self.scoring, rows, self.reader)

    def flipped(self, pair: Pair) -> bool:
        """Whether an answer is another one than the clean answer, with the change made in its copied values, would lead to expect."""
        where = map_copied if pair.undo is None else map_strings
        return not same_answer(self._with(pair.clean.output, pair.change, where), self._with(pair.output, pair.undo, where))

    def _with(self, output: str, change: Change | None, where: Callable[[Schema, Any, Change], Any]) -> Answer:
        answer = self.reader.read(output)
        if change is None or answer.value is None:
            return answer
        return self.reader.read(dump_output(self.scoring.schema, where(self.schema, answer.value, change)))

    def valid(self, outputs: Sequence[str], groups: Sequence[str]) -> dict[str, Any]:
        """The share of outputs that the schema allows."""
        return self.share(np.array([self.reader.read(output).valid for output in outputs]), groups)

    @staticmethod
    def share(hits: np.ndarray, groups: Sequence[str]) -> dict[str, Any]:
        """A share with n and its interval."""
        interval = proportion_interval(hits.astype(float), Clusters.of(groups), LEVEL)
        return {"value": float(hits.mean()), "n": len(hits), "low": interval.low, "high": interval.high}


def same_answer(a: Answer, b: Answer) -> bool:
    """Equal under the task's rules; two texts that are no objects are equal when they are the same text."""
    if a.value is None or b.value is None:
        return a.text == b.text
    return (a.keys, a.rest, a.valid) == (b.keys, b.rest, b.valid)


def judged(found: Mapping[str, Paired], alpha: float, verdict: Callable[[Paired, float], str]) -> dict[str, Paired]:
    """The comparisons with Holm's adjustment over all of them, and the verdict that `verdict` gives to each."""
    tested = {name: paired for name, paired in found.items() if paired.p_value is not None}
    adjusted = dict(zip(tested, holm([paired.p_value or 0.0 for paired in tested.values()])))
    with_p = {name: replace(paired, p_holm=adjusted.get(name)) for name, paired in found.items()}
    return {name: replace(paired, verdict=verdict(paired, alpha)) for name, paired in with_p.items()}


def cost_verdict(found: Paired, alpha: float) -> str:
    """ "degrades": fewer whole objects right, significantly and by more than MARGIN, or the whole interval of the loss of fields beyond it;
    "holds": both intervals exclude such a loss.
    """
    if found.effect is None or found.low is None or found.fields_low is None or found.fields_high is None:
        return UNKNOWN
    significant = found.p_holm is not None and found.p_holm < alpha and found.effect < -MARGIN
    if significant or found.fields_high < -MARGIN:
        return "degrades"
    return HOLDS if found.low > -MARGIN and found.fields_low > -MARGIN else UNKNOWN


def flip_verdict(found: Paired, alpha: float) -> str:
    """ "differs": surely more answers flip than MARGIN, or a significant gap beyond it; "holds": the interval of flips ends below it.

    Only the first is corrected for how many are looked at: that all of them hold needs each to hold by itself.
    """
    if found.flip_floor is None or found.flip_high is None:
        return UNKNOWN
    if found.flip_floor > MARGIN or (found.p_holm is not None and found.p_holm < alpha and abs(found.effect or 0.0) > MARGIN):
        return "differs"
    return HOLDS if found.flip_high <= MARGIN else UNKNOWN
