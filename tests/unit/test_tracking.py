"""The tracker on a real SQLite store: made once, safe to share, quiet; and the one that does nothing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pp_resources.settings import PROJECT_ROOT, Settings
from pp_resources.tracker import NullTracker
from pp_resources.tracking import MlflowTracker, flat, open_tracker


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    home = tmp_path_factory.mktemp("home")
    return MlflowTracker(f"sqlite:///{home}/mlflow/mlflow.db", (home / "mlflow" / "artifacts").as_uri(), home)


def test_a_variant_has_one_parent_run_with_nested_runs(tracker: MlflowTracker) -> None:
    for stage in ("training", "evaluation"):
        with tracker.run("tickets", "lora-r8", stage) as run:
            run.params({"recipe": "lora-r8", "nested": {"lr": 0.1}})
            for step in range(3):
                run.metrics({"loss": 1.0 / (step + 1), "bad": float("nan"), "word": "x"}, step=step)
            run.summary({"test.f1": 0.5})
            run.tags({"verdict": "SHIP"})
            run.table("fields", [{"field": "kind", "f1": 0.5}, {"field": "order", "f1": None}])
    experiment = tracker.client.get_experiment_by_name("tickets")
    runs = tracker.client.search_runs([experiment.experiment_id])
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert len(runs) == 3 and len(parents) == 1
    assert parents[0].data.metrics == {"test.f1": 0.5} and parents[0].data.tags["verdict"] == "SHIP"
    nested = [r for r in runs if r is not parents[0]]
    assert {r.info.status for r in nested} == {"FINISHED"} and nested[0].data.params == {"recipe": "lora-r8", "nested.lr": "0.1"}
    history = tracker.client.get_metric_history(nested[0].info.run_id, "loss")
    assert [(m.step, round(m.value, 3)) for m in history] == [(0, 1.0), (1, 0.5), (2, 0.333)]


def test_artifacts_lie_under_the_home_folder_and_not_where_the_process_runs(tracker: MlflowTracker, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with tracker.run("places", "v", "training") as run:
        run.file(note, "notes")
    assert list((tracker.home / "mlflow" / "artifacts" / "places").rglob("note.txt"))
    assert not (Path.cwd() / "mlruns").exists()


def test_a_run_that_raises_is_marked_as_failed(tracker: MlflowTracker) -> None:
    with pytest.raises(ZeroDivisionError), tracker.run("failing", "v", "training") as run:
        run.metrics({"loss": 2.0})
        _ = 1 / 0
    found = tracker.client.get_run(run.where["run_id"])
    assert found.info.status == "FAILED" and found.data.metrics == {"loss": 2.0}


def test_a_package_is_registered_once_and_the_alias_moves(tracker: MlflowTracker, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, again = (tracker.register("models", {}, folders[0], {"variant": "v"}) for _ in range(2))
    second = tracker.register("models", {}, folders[1], {"variant": "w"})
    assert first == again and second != first
    for version in (first, second):
        tracker.promote("models", version)
        assert str(tracker.client.get_model_version_by_alias("models", "champion").version) == version


def test_a_link_names_experiment_and_run(tracker: MlflowTracker) -> None:
    assert tracker.url({"experiment_id": "7", "run_id": "abc"}) == "http://127.0.0.1:5000/#/experiments/7/runs/abc"
    assert tracker.url({}) is None
    (tracker.home / "ui.json").write_text('{"mlflow": "http://127.0.0.1:5555"}')
    assert tracker.url({"experiment_id": "7", "run_id": "abc"}) == "http://127.0.0.1:5555/#/experiments/7/runs/abc"


def test_processes_that_use_a_fresh_store_at_once_do_not_corrupt_it(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from pp_resources.tracking import MlflowTracker
        home = Path(sys.argv[1])
        tracker = MlflowTracker(f"sqlite:///{home}/mlflow/mlflow.db", (home / "a").as_uri(), home)
        for n in range(3):
            with tracker.run("shared", "v", "training") as run:
                run.metrics({"n": n})
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=PROJECT_ROOT) for _ in range(2)]
    errors = [child.communicate()[1] for child in started]
    assert [child.returncode for child in started] == [0, 0], errors
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/mlflow/mlflow.db", "", tmp_path)
    experiment = tracker.client.get_experiment_by_name("shared")
    runs = tracker.client.search_runs([experiment.experiment_id])
    assert len(runs) == 7, "six nested runs under one parent"


def test_telemetry_is_off_before_mlflow_is_imported(tracker: MlflowTracker) -> None:
    _ = tracker.client
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true" and os.environ["DO_NOT_TRACK"] == "1"


def test_tracking_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PP_TRACKING", "off")
    tracker = open_tracker(Settings(tmp_path, tmp_path, 1))
    assert isinstance(tracker, NullTracker)
    with tracker.run("t", "v", "training") as run:
        run.params({"a": 1})
        run.metrics({"a": 1})
        run.summary({"a": 1})
        run.table("x", [])
    assert run.where == {} and tracker.url(run.where) is None and tracker.register("t", {}, tmp_path, {}) is None
    assert not list(tmp_path.iterdir())


def test_nested_values_get_dotted_names() -> None:
    assert flat({"a": {"b": 1, "c": {"d": True}}, "e": "x"}) == {"a.b": 1, "a.c.d": 1, "e": "x"}
