"""`pp eval --suite comprehensive` on a small trained encoder: computed once, shown, recomputed only when something changed."""

import gzip
import json
from pathlib import Path

import pytest
from command_line import command_line
from small_task import write_task

from pp_resources.artifacts import changed_files


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("suite")
    write_task(root / "tasks", "alpha")
    return root


@pytest.fixture
def pp(home: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(home, capfd)


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
