"""What a person sees after a run: the Dagster asset graph with partitions and the MLflow runs, in a real headless browser.

Screenshots are kept in the test's folder. Nothing may be asked from other hosts.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlparse

import psutil
import pytest

from pp_assets.names import GROUP_DATA, GROUP_RESULTS, GROUP_TRAINING
from pp_resources.settings import PROJECT_ROOT, Settings

WAIT = 90_000  # milliseconds
GRAPH = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "generation_choice", "baselines"]
GRAPH += ["adapter", "eval_report", "package", "leaderboard"]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("chromium")]


@dataclass
class Running:
    """Addresses of the started pages, the installation behind them, the process that started them."""

    dagster: str
    mlflow: str
    settings: Settings
    process: subprocess.Popen


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation in which one small task was run from folder to leaderboard, tracked."""
    spec = importlib.util.spec_from_file_location("small_task", PROJECT_ROOT / "tests" / "graph" / "small_task.py")
    assert spec and spec.loader
    helpers = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = helpers
    spec.loader.exec_module(helpers)
    root = tmp_path_factory.mktemp("live")
    made = Settings(root / "home", root / "tasks", 2)
    helpers.write_task(made.tasks, "alpha")
    code = f"""
from pathlib import Path
from pp_assets.execute import Runner
from pp_resources.settings import Settings
with Runner(Settings(Path({str(made.home)!r}), Path({str(made.tasks)!r}), 2)) as runner:
    runner.everything("alpha")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT_ROOT)
    return made


@pytest.fixture(scope="module")
def running(settings: Settings) -> Iterator[Running]:
    """`pp ui` as a process of its own, the way a person starts it."""
    code = f"""
from pathlib import Path
from pp_gateway.ui import run_ui
from pp_resources.settings import Settings
raise SystemExit(run_ui(Settings(Path({str(settings.home)!r}), Path({str(settings.tasks)!r}), 2), say=lambda text: print(text, flush=True)))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)
    assert process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        line = process.stdout.readline()
        assert line, f"ended early: {lines}"
        lines.append(line.strip())
    found = dict(line.split(maxsplit=1) for line in lines if "http" in line)
    yield Running(found["Dagster"], found["MLflow"].partition("/#")[0], settings, process)
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.fixture(scope="module")
def browse(running: Running, browser) -> tuple:
    """A page, and the hosts that it has asked."""
    page, hosts = browser.new_page(viewport={"width": 1600, "height": 1000}), set()
    page.set_default_timeout(WAIT)
    page.on("request", lambda request: hosts.add(urlparse(request.url).hostname or ""))
    return page, hosts


def asked(running: Running, query: str) -> dict:
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{running.dagster}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["data"]


def seen(page, text: str):
    """The first visible element with exactly this text; pages keep hidden copies to measure widths."""
    return page.get_by_text(text, exact=True).locator("visible=true").first


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(2)


def test_the_asset_graph_is_there(running: Running, browse, tmp_path: Path) -> None:
    page, hosts = browse
    groups = ",".join(f"global@global:{group}" for group in (GROUP_DATA, GROUP_TRAINING, GROUP_RESULTS))
    page.goto(f"{running.dagster}/asset-groups?{urlencode({'expanded': groups})}")
    for name in GRAPH:
        seen(page, name).wait_for()
    page.screenshot(path=tmp_path / "asset-graph.png")
    assert (tmp_path / "asset-graph.png").stat().st_size > 20_000
    assert hosts <= {"127.0.0.1", ""}, f"asked other hosts: {hosts}"


def test_the_partitions_of_task_and_variant_are_there(running: Running, browse, tmp_path: Path) -> None:
    page, _ = browse
    page.goto(f"{running.dagster}/assets/adapter?view=partitions")
    seen(page, "alpha").wait_for()
    seen(page, "encoder-frozen").wait_for()
    page.screenshot(path=tmp_path / "partitions.png")


def test_the_plots_and_the_verdict_of_a_report_are_there(running: Running, browse, tmp_path: Path) -> None:
    page, _ = browse
    page.goto(f"{running.dagster}/assets/eval_report?view=partitions&partition=alpha%7Cencoder-frozen")
    seen(page, "best_baseline").wait_for()
    seen(page, "mlflow_run").wait_for()
    page.screenshot(path=tmp_path / "report.png", full_page=True)


def test_the_mlflow_runs_are_there(running: Running, browse, tmp_path: Path) -> None:
    page, hosts = browse
    page.goto(f"{running.mlflow}/#/experiments?workflowType=machine_learning")
    seen(page, "alpha").wait_for()
    with urllib.request.urlopen(f"{running.mlflow}/api/2.0/mlflow/experiments/get-by-name?experiment_name=alpha") as answer:
        experiment = json.loads(answer.read())["experiment"]["experiment_id"]
    page.goto(f"{running.mlflow}/#/experiments/{experiment}/runs")
    seen(page, "encoder-frozen").wait_for()
    page.screenshot(path=tmp_path / "mlflow.png")
    assert hosts <= {"127.0.0.1", ""}, f"asked other hosts: {hosts}"


def test_a_new_task_folder_becomes_a_partition_and_a_run_by_itself(running: Running, browse, tmp_path: Path) -> None:
    sys.modules["small_task"].write_task(running.settings.tasks, "beta")
    query = '{ partitionSets: assetNodeOrError(assetKey: {path: ["seeds"]}) { ... on AssetNode { partitionKeys } } }'
    until(lambda: "beta" in asked(running, query)["partitionSets"]["partitionKeys"])
    runs = "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }"

    def finished() -> bool:
        found = asked(running, runs)["runsOrError"]["results"]
        mine = [r for r in found if {"key": "dagster/partition", "value": "beta"} in r["tags"]]
        assert not any(r["status"] == "FAILURE" for r in mine)
        return any(r["status"] == "SUCCESS" for r in mine)

    until(finished, 300)
    page, _ = browse
    page.goto(f"{running.dagster}/assets/seeds?view=partitions")
    seen(page, "beta").wait_for()
    page.screenshot(path=tmp_path / "beta.png")


def test_ctrl_c_stops_every_process(running: Running) -> None:
    """Last in the file: it ends what the others use."""
    tree = psutil.Process(running.process.pid).children(recursive=True)
    assert len(tree) >= 3
    os.kill(running.process.pid, signal.SIGINT)
    assert running.process.wait(60) == 0
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert not alive
