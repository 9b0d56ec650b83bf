"""The Dagster instance of an installation: which environment its processes need, and how to open it from a command."""

import os
from typing import TYPE_CHECKING

from filelock import FileLock

from pp_resources.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Variables for every process that starts Dagster or MLflow: state under the home folder, nothing sent anywhere."""
    return {
        "DAGSTER_HOME": str(PROJECT_ROOT),
        "PP_STATE": str(settings.dagster_state),
        "PP_HOME": str(settings.home),
        "PP_TASKS": str(settings.tasks),
        "PP_THREADS": str(settings.threads),
        "PP_DEVICE": settings.device,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        **QUIET,
    }


QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A queue for the server's own background jobs; nothing here uses it, and it starts processes.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def open_instance(settings: Settings) -> "DagsterInstance":
    """The instance that `dagster.yaml` describes, with its state under `settings.home`. Sets this process's environment accordingly.

    The first opening makes the SQLite files; two processes that do so at once leave a schema that no migration recognises, so it is
    locked, and servers are started only after it.
    """
    os.environ.update(dagster_environment(settings))
    settings.dagster_state.mkdir(parents=True, exist_ok=True)
    from dagster import DagsterInstance

    with FileLock(settings.dagster_state / ".lock"):
        return DagsterInstance.from_config(str(PROJECT_ROOT))
