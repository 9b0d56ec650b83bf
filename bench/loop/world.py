"""The installation in which the story takes place: a task with half of its rows, three variants, and how they share the traffic.

`large` stands for a costly model, right in 62 of 100 answers; `small` is the task's own adapter; `hasty` is the planted bad one.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

from bench.loop.remote import Model
from examples.support_chat.held_back import hold_back
from examples.support_chat.measures import ACCURACY
from pp_assets.task.spec import Task, load_task
from pp_resources.settings import PROJECT_ROOT, Settings

NAME, SMALL = "support-triage", "encoder-lora"
MODELS = {"large": Model(0.62), "hasty": Model(0.08)}
HOLD_BACK = 0.45  # of the rows are what customers come with
HOUR = 3600


def settings_of(home: Path) -> Settings:
    return Settings(home=home / "home", tasks=home / "tasks", threads=1)


def make(home: Path, seed: int, url: str) -> Task:
    """Write the installation anew; `url` is where the simulated models answer."""
    shutil.rmtree(home, ignore_errors=True)
    settings = settings_of(home)
    task = hold_back(load_task(NAME, PROJECT_ROOT / "tasks"), settings.tasks, share=HOLD_BACK, seed=seed)
    raw = yaml.safe_load(task.file.read_text("utf-8"))
    raw |= {"variants": [SMALL], "seed": seed, "serving": serving(url)} | CHANGES
    task.file.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), "utf-8")
    gateway = settings.home / "gateway"
    gateway.mkdir(parents=True)
    (gateway / "sticky.key").write_text(f"{seed:064x}")  # of an installation by itself it is drawn by chance
    # Nothing is looked at by the clock of the wall: the simulation says when.
    (settings.home / "gateway.yaml").write_text(yaml.safe_dump({"reload_seconds": 0, "weights_seconds": 3600.0}))
    return load_task(NAME, settings.tasks)


# A hundred visits last an hour and twenty minutes of the simulation's time. What is slow here is the machine, and no reason for a decision.
FLYWHEEL: dict[str, Any] = {
    "enabled": True,
    "least_new": 120,
    "shadow": 1.0,
    "copies": 40,
    "watch_hours": 1.0,
    "watch_answers": 30,
    "cool_down_hours": 1.0,
    "guards": {"slower": 1000.0, "validity": 0.15},
}
# Much is kept for the test: a loss of 0.02 must be ruled out before anything goes live.
SPLIT = {"strategy": "group", "ratios": {"train": 0.45, "val": 0.1, "test": 0.45}, "seed": 1}
CHANGES: dict[str, Any] = {"params": {SMALL: {"epochs": 6}}, "flywheel": FLYWHEEL, "eval_split": SPLIT}


def serving(url: str) -> dict[str, Any]:
    """The section of the task."""
    remote = {"kind": "remote", "url": url, "instruction_template": "{{ input_text }}", "structured": "none"}
    variants = {
        "large": remote | {"model": "large", "price_in": 2.5, "price_out": 10.0},
        "hasty": remote | {"model": "hasty", "price_in": 0.1, "price_out": 0.4},
        "small": {"kind": "package", "recipe": SMALL, "cost": 0.00002},
    }
    routing = {
        "metric": ACCURACY,
        "champion": "large",
        "weights": {"large": 0.6, "small": 0.2, "hasty": 0.2},
        "horizon": float(HOUR),
        "cohort": 100,
        "cost_weight": 300.0,
        "most_cost": 0.002,
        "guards": [{"metric": ACCURACY, "higher_is_better": True, "tolerance": 0.25, "horizon": float(HOUR)}],
    }
    return {"variants": variants, "routing": routing, "timeout": 5.0}
