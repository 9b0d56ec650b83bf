"""The tasks that sensors look after."""

from pathlib import Path

from small_task import write_task

from pp_resources.settings import Settings
from pp_sensors.live import live_tasks


def test_archived_and_broken_tasks_do_not_hold_up_the_others(tmp_path: Path) -> None:
    for name, more in (("beta", ""), ("alpha", ""), ("old", "archived: true")):
        write_task(tmp_path, name, rows=4, more=more)
    (write_task(tmp_path, "broken", rows=4) / "task.yaml").write_text("name: [")
    assert [task.name for task in live_tasks(Settings(tmp_path / "home", tmp_path, threads=1))] == ["alpha", "beta"]
