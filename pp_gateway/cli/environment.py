"""The process around a command: no telemetry, no progress bars of libraries, no threads that spin while they wait, logs in a file."""

import logging
import os
import sys
import warnings
from pathlib import Path

from pp_resources.instance import QUIET
from pp_resources.settings import Settings

_DEFAULTS = {
    **QUIET,
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads of OpenMP that spin while they wait take a core from whoever computes.
    "OMP_WAIT_POLICY": "PASSIVE",
    # MLflow would put handlers of its own on standard error; without them its records reach the log file.
    "MLFLOW_CONFIGURE_LOGGING": "false",
}


def quiet_environment() -> None:
    """Set what libraries read when they are imported; what the user has set stays. Their warnings say nothing to who runs a command."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def log_to_file(settings: Settings) -> Path:
    """Send records and warnings of all libraries to a file under the home folder, and none to the terminal. Returns the file."""
    file = settings.home / "logs" / "pp.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    # What is open when a process ends is told after the file was closed, and that on the terminal.
    warnings.simplefilter("ignore", ResourceWarning)
    return file
