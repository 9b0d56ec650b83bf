"""Feedback that was numbered elsewhere comes into the store with its numbers."""

from collections.abc import Sequence

from sqlalchemy import func, select

from pp_resources.store.buckets import Deltas
from pp_resources.store.common import skip_numbers
from pp_resources.store.feedback_rows import write_feedback
from pp_resources.store.opened import Store
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import feedback


def take_over_feedback(store: Store, rows: Sequence[tuple[int, Feedback]]) -> list[tuple[Feedback, Exception]]:
    """Write numbered feedback, in order, in one transaction; the rows that were refused, and why.

    The numbers are kept where the store has none that are as high; otherwise the order is. Doing it again changes nothing.
    """
    refused: list[tuple[Feedback, Exception]] = []
    with store.writing() as db:
        highest = max(db.execute(select(func.max(column))).scalar() or 0 for column in (feedback.c.seq, feedback.c.visible))
        shift = 0 if highest < min((seq for seq, _ in rows), default=1) else highest
        deltas = Deltas()
        for start, run in _runs(rows):
            skip_numbers(db, feedback.name, start + shift)
            results = write_feedback(db, run, deltas)
            refused += [(row, result) for row, result in zip(run, results, strict=True) if isinstance(result, Exception)]
        deltas.write(db)
    return refused


def _runs(rows: Sequence[tuple[int, Feedback]]) -> list[tuple[int, list[Feedback]]]:
    """Rows whose numbers follow one another, with the first number."""
    runs: list[tuple[int, list[Feedback]]] = []
    for seq, row in rows:
        if runs and runs[-1][0] + len(runs[-1][1]) == seq:
            runs[-1][1].append(row)
        else:
            runs.append((seq, [row]))
    return runs
