"""`pp eval --suite comprehensive` on a small trained encoder: computed once, shown, recomputed only when something changed."""

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import command_line

from pp_resources.artifacts import changed_files


def test_an_unknown_suite_is_told_before_anything_is_run(pp) -> None:
    said = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensiv")
    assert said.code == 2 and "unknown suite 'comprehensiv'" in said.err and "comprehensive" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_a_suite_is_computed_once_shown_and_written(pp, home: Path) -> None:
    assert pp("run", "alpha").code == 0
    openings = (home / "pp" / "ledger" / "test_openings.jsonl").read_text().count("\n")
    said = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive")
    assert said.code == 0, said.err
    for word in ("malformed", "casing", "injection", "repeats", "name_origin", "texts answered by the model"):
        assert word in said.out
    assert (home / "pp" / "ledger" / "test_openings.jsonl").read_text().count("\n") == openings + 1, "the test split is opened once"
    again = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive", "--json").json
    assert again["reused"] and (home / "pp" / "ledger" / "test_openings.jsonl").read_text().count("\n") == openings + 1
    folder = Path(again["path"])
    assert changed_files(folder) == [] and json.loads((folder / "suite.json").read_text()) == again["suite"]
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {"suite.json", "suite.md", "suite.html", "provenance.json", "cases.jsonl.gz", "plots/robustness.png"} <= names
    suite = again["suite"]
    with gzip.open(folder / "cases.jsonl.gz", "rt") as lines:
        cases = [json.loads(line) for line in lines]
    assert len(cases) == suite["robustness"]["cases"] and {c["family"] for c in cases} == set(suite["robustness"]["families"])
    assert suite["consistency"]["repeats"]["verdict"] == "holds", "a greedy model in fp32 repeats itself"
    assert suite["consistency"]["over_time"]["verdict"] == "holds", "and answers as it did in the evaluation"
    auc = next(one["roc_auc"] for one in suite["metrics"]["classes"] if one["field"] == "kind")
    assert auc["value"] > 0.5 and auc["n"] == suite["test_items"]
    assert suite["metrics"]["texts"][0]["bertscore"]["value"] is not None
    assert all(found["validity"]["value"] == 1.0 for found in suite["robustness"]["families"].values()), "valid by construction"
    verdicts = {(v["section"], v["name"]) for v in suite["verdicts"]}
    assert ("robustness", "casing") in verdicts and ("consistency", "over_time") in verdicts and ("bias", "nationality") in verdicts


KILLED = "from pp_assets.pipeline import Pipeline; Pipeline.from_env().suite('alpha', 'encoder-frozen')"


def kept(cells: Path) -> int:
    """Texts that have an answer; the file is there before its tables are."""
    with sqlite3.connect(cells) as store:
        try:
            return int(store.execute("SELECT count(*) FROM cells").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


@pytest.mark.slow
def test_a_killed_suite_goes_on_and_other_statistics_ask_nothing(pp, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert pp("run", "alpha").code == 0
    for part in ("pp", "tasks"):
        shutil.copytree(home / part, tmp_path / part)
    shutil.rmtree(tmp_path / "pp" / "suites", ignore_errors=True)
    (tmp_path / "pp" / "cells.db").unlink()
    whole = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive", "--json").json
    wanted = whole["suite"]["model_calls"]["texts_answered"]

    environment = os.environ | {"PP_HOME": str(tmp_path / "pp"), "PP_TASKS": str(tmp_path / "tasks"), "PP_TRACKING": "off"}
    running = subprocess.Popen([sys.executable, "-c", KILLED], env=environment)
    cells = tmp_path / "pp" / "cells.db"
    while not (cells.exists() and kept(cells) > 100):
        assert running.poll() is None, "it ended before it was killed"
        time.sleep(0.05)
    running.kill()
    running.wait()
    before = kept(cells)
    assert 0 < before < wanted and not list((tmp_path / "pp").glob("suites/*/*/*/suite.json"))

    pp = command_line(tmp_path, capfd)
    resumed = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive", "--json").json
    assert resumed["asked"] == wanted - before, "what was answered before the kill was not asked again"
    assert Path(resumed["path"], "suite.json").read_bytes() == Path(whole["path"], "suite.json").read_bytes()
    with (tmp_path / "tasks" / "alpha" / "task.yaml").open("a") as file:
        file.write("primary_metric: {name: object_exact_match, alpha: 0.01}\n")
    stricter = pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive", "--json").json
    assert (stricter["asked"], stricter["reused"], stricter["suite"]["settings"]["alpha"]) == (0, False, 0.01)
