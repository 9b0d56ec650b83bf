"""The package beside a task's champion that copies are sent to: a small file which the gateway watches."""

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pp_assets.flywheel.state import Pack, Plain
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError

SUFFIX = ".candidate.json"


class Trial(Plain):
    """A candidate, or while a new champion is watched the previous one. It gets a copy of the share of the task's traffic, and is compared
    with what the package `of` says to the same."""

    role: Literal["candidate", "previous"]
    pack: Pack
    of: str
    share: float


def trial_file(home: Path, task: str) -> Path:
    """Beside the champion's record."""
    return home / "champions" / f"{task}{SUFFIX}"


def read_trial(home: Path, task: str) -> Trial | None:
    """None where nothing is on trial. Raises UserError for a file that says something else."""
    try:
        text = trial_file(home, task).read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        return Trial.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            "is no record of a package on trial", where=str(trial_file(home, task)), how="'pp flywheel --advance' writes it anew"
        ) from error


def write_trial(home: Path, task: str, trial: Trial) -> None:
    """A file that says so already is left as it is: the gateway would load everything again."""
    try:
        there = read_trial(home, task)
    except UserError:
        there = None
    if there != trial:
        write_atomic(trial_file(home, task), json.dumps(trial.model_dump(), indent=1) + "\n")


def end_trial(home: Path, task: str) -> None:
    trial_file(home, task).unlink(missing_ok=True)
