"""From which confidence on an answer goes out, or goes no further than the cheap variant: proven on rows whose answers are known."""

from collections.abc import Sequence

from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.evaluation.scoring import Scoring
from pp_assets.routing.cascade import Cascade, fit_cascade
from pp_assets.routing.precision import Precise, fit_precision
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_resources.fingerprint import canonical_json
from pp_resources.models.interface import Prediction


def fit_handoff(task: Task, rows: Sequence[Example], said: Sequence[Prediction], *, target: float, delta: float) -> Precise:
    """The confidence below which answers should go to a person. An answer is right when it equals the row's output under the task's rules.
    Raises UserError with too few rows."""
    sure, hits = _judged(task, rows, said)
    return fit_precision(sure, hits, target=target, delta=delta, groups=_groups(rows))


def fit_steps(
    task: Task,
    rows: Sequence[Example],
    cheap: Sequence[Prediction],
    better: Sequence[Prediction],
    costs: tuple[Sequence[float], Sequence[float]],
    *,
    tolerance: float,
    delta: float,
) -> Cascade:
    """The confidence below which the better variant is asked as well. `costs` of each answer of the cheap and of the better one. Raises
    UserError with too few rows."""
    (sure, hits), (_, others) = _judged(task, rows, cheap), _judged(task, rows, better)
    return fit_cascade(sure, hits, others, *costs, tolerance=tolerance, delta=delta, groups=_groups(rows))


def _judged(task: Task, rows: Sequence[Example], said: Sequence[Prediction]) -> tuple[list[float | None], list[bool]]:
    """How sure each answer is (None for one that the schema does not allow: it goes on whatever it says), and whether it is right."""
    scoring = Scoring.of(task.spec)
    reader = OutputReader(scoring.schema, scoring.compare)
    answers = [reader.read(one.text) for one in said]
    sure = [one.confidence if answer.valid else None for one, answer in zip(said, answers, strict=True)]
    known = (reader.expected(canonical_json(row.output), row.item_id) for row in rows)
    return sure, [right(answer, expected) for answer, expected in zip(answers, known, strict=True)]


def _groups(rows: Sequence[Example]) -> list[str]:
    return [row.group or row.item_id for row in rows]
