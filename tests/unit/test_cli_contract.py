"""`pp contract` as it is typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import command_line
from model_server import model_server

INPUT = "Where is my parcel? Order A-1042 was due on Monday."
OUTPUT = {"team": "delivery", "urgent": False, "order_id": "A-1042"}


@pytest.fixture
def pp(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    call = command_line(tmp_path, capfd)
    assert call("task", "init", "demo").code == 0
    return call


def lines(file: Path, rows: list[Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_a_contract_is_generated_edited_and_kept(pp: Any, tmp_path: Path) -> None:
    assert "derived from the task" in pp("contract", "show", "demo").out
    file = tmp_path / "tasks" / "demo" / "contract.yaml"
    assert not file.exists()
    said = pp("contract", "generate", "demo", "--json").json
    assert said["notes"] == ["new"] and file.read_text().startswith("# What a good answer is")
    assert pp("contract", "edit", "demo", "values/team", "weight=3").code == 0
    assert pp("contract", "edit", "demo", "form/known keys", "--remove").code == 0
    assert pp("contract", "edit", "demo", "tone/polite", "description=Is it: polite?").code == 0
    said = pp("contract", "generate", "demo", "--json").json
    assert "values/team/weight: yours is kept" in said["notes"] and "form/known keys: removed by you, stays out" in said["notes"]
    nodes = {n["path"]: n for n in pp("contract", "show", "demo", "--json").json["nodes"]}
    assert "form/known keys" not in nodes and nodes["tone/polite"]["description"] == "Is it: polite?"
    before = file.read_bytes()
    for wrong, words in (
        (["values/team", "wieght=3"], "unknown key 'wieght'; did you mean 'weight'"),
        (["values/taem", "--remove"], "did you mean 'values/team'"),
        (["values/team"], "give KEY=VALUE or --remove"),
    ):
        said = pp("contract", "edit", "demo", *wrong)
        assert said.code == 2 and words in said.err and file.read_bytes() == before


def test_one_answer_and_a_file_are_scored(pp: Any, tmp_path: Path) -> None:
    one = pp("contract", "score", "demo", "--input", INPUT, "--output", json.dumps(OUTPUT), "--json").json
    assert one["total"] == 1 and one["dimensions"]["form"]["sub_dimensions"]["schema"] == 1 and "no label" in one["reasons"].values()
    rows = [{"input_text": INPUT, "output": OUTPUT, "label": OUTPUT}, {"input_text": INPUT, "output": OUTPUT | {"order_id": "B-1"}}]
    rows += [{"input_text": INPUT, "output": "I do not know"}]
    file = lines(tmp_path / "rows.jsonl", rows)
    said = pp("contract", "score", "demo", "--file", file, "--to", str(tmp_path / "scores.jsonl"), "--json").json
    found = {r["path"]: r for r in said["scores"]}
    assert found["total"]["n"] == 3 and found["grounding/order_id"]["broken"] == 2 and found["correctness/team"]["missing"] == 2
    assert "no label (2)" in found["correctness/team"]["why_missing"]
    totals = [json.loads(line)["total"] for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert totals[0] == 1 and 0 < totals[1] < 1 and totals[2] == 0
    shown = pp("contract", "score", "demo", "--file", file)
    assert "3 rows" in shown.out and "grounding/order_id" in shown.out and not shown.err
    bad = lines(tmp_path / "bad.jsonl", [*rows, {"input_text": INPUT}])
    said = pp("contract", "score", "demo", "--file", bad, "--to", str(tmp_path / "none.jsonl"))
    assert said.code == 2 and "bad.jsonl:4" in said.err and not (tmp_path / "none.jsonl").exists()
    assert pp("contract", "score", "demo").code == 2


def test_the_other_form_is_written_and_says_the_same(pp: Any, tmp_path: Path) -> None:
    flat, tree = tmp_path / "flat.yaml", tmp_path / "tree.json"
    assert pp("contract", "convert", "demo", str(flat)).code == 0
    assert pp("contract", "convert", str(flat), str(tree), "--tree").code == 0
    assert "questions" in yaml.safe_load(flat.read_text()) and "dimensions" in json.loads(tree.read_text())
    digests = {pp("contract", "show", str(file), "--json").json["digest"] for file in (flat, tree)}
    assert digests == {pp("contract", "show", "demo", "--json").json["digest"]}


def test_a_contract_of_the_founding_api_is_imported(pp: Any, tmp_path: Path) -> None:
    code = "def score(response_text, input_text, kwargs):\n    return {'score': 0.5, 'explanation': ''}\n"
    asked = [{"question": "Is it short?", "tag": "Style"}, {"question": "By code", "scoring_type": "PYTHON_CODE", "python_code": code}]
    (tmp_path / "old.json").write_text(json.dumps(asked))
    said = pp("contract", "import", str(tmp_path / "old.json"), str(tmp_path / "mine.yaml"), "--json").json
    assert len(said["nodes"]) == 2 and (tmp_path / "mine_scorer_1.py").read_text() == code
    scored = pp("contract", "score", str(tmp_path / "mine.yaml"), "--input", "a", "--output", "b", "--json").json
    assert scored["total"] is None and "is not installed" in scored["reasons"]["questions/2. By code"]
    said = pp("contract", "import", str(tmp_path / "old.json"), str(tmp_path / "x.yaml"), "--aggregation", "mean")
    assert said.code == 2 and not (tmp_path / "x.yaml").exists()


def test_calibration_is_written_when_it_is_better_and_refused_on_noise(pp: Any, tmp_path: Path) -> None:
    r = np.random.default_rng(0)
    rows, noise = [], []
    for i in range(60):
        teams, orders = r.random() < 0.5, r.random() < 0.5
        output = {"team": "delivery" if teams else "x", "urgent": False, "order_id": "A-1042" if orders else "Z"}
        row = {"input_text": f"{INPUT} {i}", "output": output}
        rows.append(row | {"score": float(np.clip(0.2 + 0.1 * teams + 0.5 * orders + r.normal(0, 0.05), 0, 1))})
        noise.append(row | {"rating": int(r.integers(1, 6))})
    assert pp("contract", "generate", "demo").code == 0
    file = tmp_path / "tasks" / "demo" / "contract.yaml"
    # A hard gate would give 0 to every answer with an unknown team, whatever the marks say.
    assert pp("contract", "edit", "demo", "form/schema", "hard_gate=").code == 0
    before = file.read_bytes()
    refused = pp("contract", "calibrate", "demo", lines(tmp_path / "noise.jsonl", noise))
    assert refused.code == 1 and "refused: " in refused.out and file.read_bytes() == before
    done = pp("contract", "calibrate", "demo", lines(tmp_path / "marks.jsonl", rows), "--json")
    assert done.code == 0 and done.json["refused"] is None and done.json["measured"]["mae"]["difference"]["high"] < 0
    assert "map:" in file.read_text()
    nodes = {n["path"]: n for n in pp("contract", "show", "demo", "--json").json["nodes"]}
    assert nodes["grounding/order_id"]["share"] > nodes["values/team"]["share"] and "calibrated" in nodes["values/team"]["marks"]


def test_a_judge_is_asked_only_where_a_provider_is_set_and_wanted(pp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "asked.yaml").write_text('questions:\n- {label: fit, question: "Does it fit?"}\n')
    words = ("contract", "score", str(tmp_path / "asked.yaml"), "--input", "a", "--output", "b", "--json")
    with model_server() as server:
        monkeypatch.setenv("PP_PROVIDER_URL", server.url)
        monkeypatch.setenv("PP_PROVIDER_MODEL", "ours")
        assert pp(*words, "--no-judge").json["reasons"]["questions/fit"] == "no provider is set" and not server.seen
        first, again = pp(*words).json, pp(*words).json
    assert first["total"] in (0, 0.25, 0.5, 0.75, 1) and first == again and len(server.seen) == 1
