"""The tasks that sensors and schedules look after: those that can be read and are not archived."""

from pp_assets.task.spec import Task, list_tasks, load_task
from pp_resources.errors import UserError
from pp_resources.settings import Settings


def live_tasks(settings: Settings) -> list[Task]:
    """In the order of their names. One that cannot be read does not hold up the others; `watch_tasks` tells of it."""
    found = []
    for name in list_tasks(settings.tasks):
        try:
            task = load_task(name, settings.tasks)
        except UserError:
            continue
        if not task.spec.archived:
            found.append(task)
    return found
