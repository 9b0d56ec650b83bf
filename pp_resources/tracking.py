"""MLflow behind a small object: a parent run per task and variant, nested runs for training and evaluation, a registered model per task.

The only module that imports mlflow, and only inside functions: the import takes seconds and 165 MB. Runs are written through the client,
so no "active run" is shared between threads. `NullTracker` stands in when tracking is off.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from filelock import FileLock

from pp_resources.instance import QUIET
from pp_resources.settings import Settings
from pp_resources.tracker import NullTracker, Run, Tracker

CHAMPION = "champion"
TASK_TAG, VARIANT_TAG, STAGE_TAG = "pp.task", "pp.variant", "pp.stage"
BATCH = 500  # metrics a request: MLflow takes 1000, params 100
DEFAULT_UI = "http://127.0.0.1:5000"


def open_tracker(settings: Settings) -> Tracker:
    """The tracker of an installation; `PP_TRACKING=off` gives the null one."""
    if os.environ.get("PP_TRACKING", "on").lower() in ("off", "0", "false", "no"):
        return NullTracker()
    return MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, settings.home)


@dataclass
class MlflowTracker:
    """Writes to the MLflow store at `uri`; artifacts of new experiments go under `artifacts` (a URI). `home` holds the lock file.

    An experiment per task, in it a parent run per variant. Runs are found again by their tags, so each process may come and go.
    """

    uri: str
    artifacts: str
    home: Path

    @cached_property
    def client(self) -> Any:
        """An MLflow client on an initialised store.

        The first use of an empty SQLite store creates its tables; two processes doing so at once corrupt it, so the first use is locked.
        """
        os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
        lock = self.home / "mlflow" / ".lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        import logging

        with FileLock(lock):
            import mlflow
            from mlflow.tracking import MlflowClient

            for name in ("alembic", "mlflow.store.db.utils", "mlflow.store.model_registry"):
                logging.getLogger(name).setLevel(logging.WARNING)
            mlflow.set_tracking_uri(self.uri)
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
        return client

    @contextmanager
    def run(self, task: str, variant: str, stage: str, within: Mapping[str, str] | None = None) -> Iterator[Run]:
        """A nested run under the parent of this task and variant, or one level deeper `within` the run that `Run.where` names.

        Ends as FINISHED, or as FAILED when the block raises.
        """
        if within:
            experiment, parent = within["experiment_id"], within["run_id"]
        else:
            info = self._parent(task, variant).info
            experiment, parent = info.experiment_id, info.run_id
        tags = {"mlflow.parentRunId": parent, TASK_TAG: task, VARIANT_TAG: variant, STAGE_TAG: stage}
        made = self.client.create_run(experiment, run_name=f"{variant} {stage}", tags=tags)
        run = MlflowRun(self.client, made.info.run_id, parent, experiment, shows_on_parent=not within)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            run.flush()
            self.client.set_terminated(run.id, status=status)
            if not within:
                self.client.set_terminated(parent, status=status)

    def url(self, where: Mapping[str, str]) -> str | None:
        """Address of a run in the MLflow pages, from what `Run.where` said; None without a run. MLflow is not asked."""
        if not where.get("run_id"):
            return None
        return f"{self._pages()}/#/experiments/{where['experiment_id']}/runs/{where['run_id']}"

    def register(self, task: str, where: Mapping[str, str], package: Path, tags: Mapping[str, str]) -> str | None:
        """A version of the registered model `<task>` for a package folder; the version that this folder has already when it has one."""
        from mlflow.exceptions import MlflowException

        with FileLock(self.home / "mlflow" / f".register-{task}"):
            try:
                self.client.create_registered_model(task, description=f"Packages of the task {task}")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = package.as_uri()
            for version in self.client.search_model_versions(f"name = '{task}'"):
                if version.source == source:
                    return str(version.version)
            made = self.client.create_model_version(task, source, run_id=where.get("run_id"), tags={k: str(v) for k, v in tags.items()})
        return str(made.version)

    def promote(self, task: str, version: str | None) -> None:
        """Move the alias `champion` of the task's model to this version."""
        if version is not None:
            self.client.set_registered_model_alias(task, CHAMPION, version)

    def _parent(self, task: str, variant: str) -> Any:
        with FileLock(self.home / "mlflow" / f".parent-{task}"):
            found = self.client.get_experiment_by_name(task)
            if found:
                experiment = found.experiment_id
            else:
                # A location of its own: the default is `mlruns` under whatever folder the process happens to run in.
                place = f"{self.artifacts}/{task}"
                experiment = self.client.create_experiment(task, artifact_location=place)
            wanted = f"tags.`{STAGE_TAG}` = 'parent' and tags.`{VARIANT_TAG}` = '{variant}'"
            runs = self.client.search_runs([experiment], filter_string=wanted, max_results=1)
            if runs:
                return runs[0]
            tags = {TASK_TAG: task, VARIANT_TAG: variant, STAGE_TAG: "parent"}
            return self.client.create_run(experiment, run_name=variant, tags=tags)

    def _pages(self) -> str:
        if urlparse(self.uri).scheme in ("http", "https"):
            return self.uri.rstrip("/")
        try:
            return str(json.loads((self.home / "ui.json").read_text("utf-8"))["mlflow"])
        except (OSError, ValueError, KeyError):
            return DEFAULT_UI


@dataclass
class MlflowRun:
    """A nested run. Metrics are collected and sent in batches; `summary` and `tags` also show on the parent run of the variant."""

    client: Any
    id: str
    parent: str
    experiment: str
    shows_on_parent: bool = True
    _pending: list[Any] = field(default_factory=list)
    _sent_at: float = field(default_factory=time.monotonic)

    @property
    def where(self) -> dict[str, str]:
        return {"experiment_id": self.experiment, "run_id": self.id, "parent_run_id": self.parent}

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        listed = [Param(_name(k), _text(v)[:6000]) for k, v in flat(values).items()]
        for start in range(0, len(listed), 100):
            self.client.log_batch(self.id, params=listed[start : start + 100])

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        self._pending += _metrics(values, step)
        # Often enough to watch a training, seldom enough to cost nothing.
        if len(self._pending) >= BATCH or time.monotonic() - self._sent_at > 10:
            self.flush()

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final numbers: on this run and on the parent, where variants are compared."""
        if self.shows_on_parent:
            self.client.log_batch(self.parent, metrics=_metrics(values, 0))
        self.metrics(values)

    def tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        listed = [RunTag(_name(k), _text(v)) for k, v in values.items()]
        for run in (self.id, self.parent)[: 1 + self.shows_on_parent]:
            self.client.log_batch(run, tags=listed)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if rows:
            self.client.log_table(self.id, {c: [row.get(c) for row in rows] for c in columns}, f"{name}.json")

    def file(self, path: Path, folder: str = "") -> None:
        log: Callable[..., Any] = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        log(self.id, str(path), folder or None)

    def flush(self) -> None:
        for start in range(0, len(self._pending), BATCH):
            self.client.log_batch(self.id, metrics=self._pending[start : start + BATCH])
        self._pending, self._sent_at = [], time.monotonic()


def _metrics(values: Mapping[str, Any], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    numbers = {k: v for k, v in flat(values).items() if isinstance(v, int | float) and math.isfinite(v)}
    return [Metric(_name(name), float(value), now, step) for name, value in numbers.items()]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names; booleans are left out of numbers by becoming 0 or 1."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = int(value) if isinstance(value, bool) else value
    return found


def _name(text: str) -> str:
    # MLflow takes letters, digits, _ - . space and /.
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in text)[:250]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
