"""Reading feedback in the order in which it became visible: who follows it keeps the last number, and misses nothing."""

from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select, text

from pp_resources.store.opened import Store
from pp_resources.store.rows import FeedbackKind
from pp_resources.store.schema import DEMONSTRATION, feedback, inferences

_INPUT = func.coalesce(feedback.c.input, inferences.c.input).label("input")
_ANSWER = func.coalesce(feedback.c.answer, inferences.c.output).label("answer")


class Said(NamedTuple):
    """One feedback with what it is about. `seq` is its number for readers; `input` and `answer` are the inference's where it has one, None
    for an episode; `counts` is False where a later one took its place."""

    seq: int
    id: str
    key: str | None
    task: str
    kind: FeedbackKind
    metric: str
    inference: str | None
    episode: str | None
    variant: str | None
    input: str | None
    answer: str | None
    value: float | None
    output: str | None
    comment: str | None
    source: str
    subject: str | None
    at: int
    counts: bool


_PLAIN = {name: feedback.c[name] for name in Said._fields if name in feedback.c}
_COLUMNS = _PLAIN | {"seq": feedback.c.visible, "input": _INPUT, "answer": _ANSWER, "variant": inferences.c.variant}


def feedback_since(
    store: Store,
    task: str | None = None,
    after: int = 0,
    *,
    kind: FeedbackKind | None = None,
    in_force: bool = False,
    limit: int | None = None,
) -> list[Said]:
    """Feedback that became visible after a number, oldest first; with `in_force` only what counts."""
    query = _joined(*(_COLUMNS[name] for name in Said._fields)).where(feedback.c.visible > after).order_by(feedback.c.visible).limit(limit)
    for wanted, condition in (
        (task is not None, feedback.c.task == task),
        (kind is not None, feedback.c.kind == bindparam("kind", kind, literal_execute=True)),
        (in_force, feedback.c.counts == 1),
    ):
        if wanted:
            query = query.where(condition)
    with store.reading() as db:
        return [_said(row) for row in db.execute(query)]


def feedback_on(store: Store, inference: str, episode: str | None = None) -> list[Said]:
    """All feedback on one inference, and on the whole of an episode where that is named, oldest first."""
    about = feedback.c.inference == inference if episode is None else (feedback.c.inference == inference) | (feedback.c.episode == episode)
    query = _joined(*(_COLUMNS[name] for name in Said._fields)).where(about, feedback.c.visible.is_not(None))
    with store.reading() as db:
        return [_said(row) for row in db.execute(query.order_by(feedback.c.visible))]


def demonstration_heads(store: Store) -> dict[str, int]:
    """By task the number of its last demonstration."""
    return _by_task(store, func.max(feedback.c.visible), text(DEMONSTRATION))


def feedback_heads(store: Store) -> dict[str, int]:
    """By task the number of its last feedback of any kind."""
    query = select(feedback.c.task, func.max(feedback.c.visible)).where(feedback.c.task.is_not(None)).group_by(feedback.c.task)
    with store.reading() as db:
        return {task: int(seq) for task, seq in db.execute(query) if seq}


def inputs_spoken_of(store: Store) -> dict[str, int]:
    """By task how many different inputs feedback came for."""
    return _by_task(store, func.count(_INPUT.distinct()), feedback.c.visible.is_not(None))


def _said(row: Any) -> Said:
    return Said(*row)._replace(counts=bool(row.counts))


def _by_task(store: Store, amount: Any, where: Any) -> dict[str, int]:
    query = _joined(feedback.c.task, amount).where(where, feedback.c.task.is_not(None)).group_by(feedback.c.task)
    with store.reading() as db:
        return {task: int(n) for task, n in db.execute(query) if n}


def _joined(*columns: Any) -> Select[Any]:
    return select(*columns).select_from(feedback.outerjoin(inferences, feedback.c.inference == inferences.c.id))
