"""The pipelines of the catalogue, in the order of the document that names them. A category is a module with its ENTRIES."""

from pp_assets.pipelines import comparison, evaluation, fine_tuning, prompting
from pp_assets.pipelines.entry import Entry
from pp_resources.errors import UserError, nearest

ENTRIES: tuple[Entry, ...] = (*prompting.ENTRIES, *evaluation.ENTRIES, *comparison.ENTRIES, *fine_tuning.ENTRIES)


def entry(pipeline: str) -> Entry:
    """The pipeline of this id. Raises UserError with the nearest one."""
    found = {one.id: one for one in ENTRIES}
    if pipeline not in found:
        raise UserError(f"no pipeline {pipeline!r}", where="pipeline", how=nearest(pipeline, found))
    return found[pipeline]
