"""Where things live, and on what and with how many threads models run: read from the environment once, at the door, never at import."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pp_resources.errors import UserError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Paths of one installation.

    `home` (PP_HOME, default `.pp` in the project) holds every piece of state; `tasks` (PP_TASKS, default `tasks/` in the project) the task
    folders; `threads` (PP_THREADS) is how many a model may use, `device` (PP_DEVICE) what it runs on: `cpu`, `cuda`, `cuda:N` or `auto`.
    The processor by default, also beside a GPU: only there the same inputs give the same bytes.
    """

    home: Path
    tasks: Path
    threads: int
    device: str = "cpu"

    @classmethod
    def from_env(cls) -> "Settings":
        home = Path(os.environ.get("PP_HOME") or PROJECT_ROOT / ".pp").expanduser().resolve()
        tasks = Path(os.environ.get("PP_TASKS") or PROJECT_ROOT / "tasks").expanduser().resolve()
        threads = os.environ.get("PP_THREADS") or str(min(os.cpu_count() or 1, 8))
        if not threads.isdecimal() or int(threads) < 1:
            raise UserError(f"{threads!r} is not a number of threads", where="PP_THREADS", how="give a whole number from 1 on")
        device = os.environ.get("PP_DEVICE") or cls.device
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise UserError(f"{device!r} is not a device", where="PP_DEVICE", how="give cpu, cuda, cuda:N (counted from 0) or auto")
        return cls(home=home, tasks=tasks, threads=int(threads), device=device)

    @property
    def dagster_state(self) -> Path:
        return self.home / "dagster"

    @property
    def store_url(self) -> str | None:
        """None for the SQLite file under the home folder."""
        return os.environ.get("PP_STORE_URL") or None

    @property
    def mlflow_uri(self) -> str:
        return os.environ.get("PP_MLFLOW_URI") or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        return (self.home / "mlflow" / "artifacts").as_uri()
