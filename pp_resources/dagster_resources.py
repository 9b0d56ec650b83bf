"""The one Dagster resource: where this installation lives and whether runs are tracked. Assets turn it into a `Pipeline`."""

from pathlib import Path

import dagster as dg

from pp_resources.settings import Settings
from pp_resources.tracker import NullTracker, Tracker
from pp_resources.tracking import open_tracker


class Installation(dg.ConfigurableResource):
    """Empty values mean what the environment says (PP_HOME, PP_TASKS, PP_THREADS, PP_DEVICE), read when a run starts."""

    home: str = ""
    tasks: str = ""
    threads: int = 0
    device: str = ""
    tracking: bool = True

    def settings(self) -> Settings:
        found = Settings.from_env()
        return Settings(
            home=Path(self.home).resolve() if self.home else found.home,
            tasks=Path(self.tasks).resolve() if self.tasks else found.tasks,
            threads=self.threads or found.threads,
            device=self.device or found.device,
        )

    def tracker(self) -> Tracker:
        return open_tracker(self.settings()) if self.tracking else NullTracker()
