"""Where contracts come from: a task, a person's edits on top, files of the founding API."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_server import model_server

from pp_assets.task.contract import derive as deriving
from pp_assets.task.contract.derive import derive
from pp_assets.task.contract.files import contract_file, generate, load_contract, read_contract, write_contract
from pp_assets.task.contract.imported import import_contract, knots
from pp_assets.task.contract.merge import merge
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows
from pp_assets.task.contract.spec import Contract, parse_contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task, load_task, parse_spec
from pp_resources.errors import UserError
from pp_resources.models.remote import Provider
from pp_resources.settings import PROJECT_ROOT

TASKS = PROJECT_ROOT / "tasks"
OUTPUT = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b", None]},
        "amount": {"type": "number", "minimum": 0},
        "code": {"type": "string", "pattern": "^[A-Z]", "maxLength": 5},
        "when": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["kind", "amount", "code", "when"],
}


def task(folder: Path, **changes: Any) -> Task:
    raw = {
        "name": "demo",
        "instruction_template": "Text: {{ input_text }}",
        "io_schema": {"output": OUTPUT},
        "rubric": {"fields": {"kind": {"description": "a or b", "compare": "casefold"}}},
    }
    (folder / "demo").mkdir(parents=True, exist_ok=True)
    (folder / "demo" / "task.json").write_text(json.dumps(raw | changes))
    return load_task("demo", folder)


def test_a_task_implies_a_contract() -> None:
    spec = load_task("support-triage", TASKS).spec
    made = derive(spec)
    paths = [path for path, _ in made.nodes()]
    assert paths[:2] == ["form/schema", "form/known keys"] and "values/category" in paths and "correctness/products" in paths
    assert [p for p in paths if p.startswith("grounding/")] == ["grounding/order_id", "grounding/products"]
    judged = [node for path, node in made.nodes() if node.kind == "judge"]
    assert len(judged) == 5 and "Does priority follow this rule? First that applies" in judged[1].description
    assert derive(spec) == made


def test_limits_patterns_and_formats_of_the_schema_become_rules(tmp_path: Path) -> None:
    made = dict(load_contract(task(tmp_path)).nodes())
    kinds = {path: node.kind for path, node in made.items() if path.startswith("values/")}
    assert kinds == {
        "values/kind": "enum",
        "values/amount": "range",
        "values/code length": "length",
        "values/code pattern": "regex",
        "values/when format": "format",
        "values/tags length": "length",
    }
    assert made["values/kind"].values == ["a", "b", None] and made["correctness/kind"].compare == "casefold"


def test_rows_show_what_is_copied(tmp_path: Path) -> None:
    spec = task(tmp_path).spec
    outputs = [{"amount": i, "code": f"X{i}", "when": "2024-05-03", "kind": "a"} for i in range(30)]
    rows = [Example(str(i), f"{i} of X{i} on 3 May 2024", output) for i, output in enumerate(outputs)]
    found = [node.field for path, node in derive(spec, rows).nodes() if path.startswith("grounding/")]
    assert found == ["amount", "code", "when"]
    rows[0].output["amount"] = 99
    rows[1].output["code"] = "Z"
    assert [n.field for p, n in derive(spec, rows).nodes() if p.startswith("grounding/")] == ["when"]
    assert not [p for p, _ in derive(spec, rows[:19]).nodes() if p.startswith("grounding/")], "too few to tell"


def test_what_a_person_changed_stays_when_the_task_changes(tmp_path: Path) -> None:
    first = task(tmp_path)
    file, merged = generate(first)
    assert merged.notes == ["new"] and load_contract(first) == derive(first.spec)
    mine = read_contract(file).plain()
    values = next(d for d in mine["dimensions"] if d["label"] == "values")["sub_dimensions"]
    values[0]["weight"] = 4.0
    values[1]["maximum"] = 50.0
    del values[2]
    values.append({"label": "mine", "kind": "length", "field": "code", "minimum": 1.0})
    write_contract(file, parse_contract(mine, "mine"))
    wider = json.loads(json.dumps(OUTPUT))
    wider["properties"] |= {"kind": {"enum": ["a", "b", "c"]}, "size": {"enum": ["s", "m"]}}
    wider["properties"]["code"].pop("pattern")
    second = task(tmp_path, io_schema={"output": wider})
    _, merged = generate(second)
    now = dict(load_contract(second).nodes())
    assert now["values/kind"].weight == 4 and now["values/kind"].values == ["a", "b", "c"]
    assert now["values/amount"].maximum == 50 and "values/mine" in now and "values/size" in now
    assert "values/code length" not in now and "values/code pattern" not in now
    for note in (
        "values/kind/weight: yours is kept",
        "values/kind/values: generated anew",
        "values/code length: removed by you, stays out",
        "values/code pattern: not generated any more, taken out",
        "values/size: new",
        "values/mine: yours is kept",
    ):
        assert note in merged.notes, merged.notes
    before = file.read_bytes()
    assert generate(second)[0].read_bytes() == before, "a second time changes nothing"


plain = st.fixed_dictionaries(
    {"label": st.sampled_from("abc")}, optional={"weight": st.sampled_from([2, 3]), "field": st.sampled_from("xy")}
)
level = st.lists(plain, min_size=1, max_size=3, unique_by=lambda n: n["label"])


@given(level, level, level)
def test_merging_takes_the_side_that_changed(before: list[Any], mine: list[Any], now: list[Any]) -> None:
    def whole(nodes: list[Any]) -> dict[str, Any]:
        return {"dimensions": [{"label": "d", "sub_dimensions": nodes}]}

    def merged(a: list[Any], b: list[Any], c: list[Any]) -> Any:
        return merge(whole(a), whole(b), whole(c)).value["dimensions"]

    def by_label(found: Any) -> Any:
        return {n["label"]: n for d in found for n in d["sub_dimensions"]}

    assert by_label(merged(before, before, now)) == by_label(whole(now)["dimensions"])
    assert merged(before, mine, before) == whole(mine)["dimensions"]
    found = by_label(merged(before, mine, now))
    for node in mine:
        was = next((n for n in before if n["label"] == node["label"]), None)
        for key in ("weight", "field"):
            if was is not None and was.get(key) != node.get(key):
                assert found[node["label"]].get(key) == node.get(key)


def test_the_task_names_its_file_and_a_missing_one_is_told(tmp_path: Path) -> None:
    made = task(tmp_path, contract="quality.json")
    with pytest.raises(UserError, match=r"contract: 'quality.json' is not there; run 'pp contract generate demo'"):
        contract_file(made)
    generate(made)
    assert contract_file(made) == tmp_path / "demo" / "quality.json" and load_contract(made) == derive(made.spec)


def test_both_forms_are_read_and_bound_to_the_schema_of_the_task(tmp_path: Path) -> None:
    made = task(tmp_path)
    file = made.folder / "contract.yaml"
    write_contract(file, derive(made.spec), made, flat=True)
    assert "questions:" in file.read_text() and load_contract(made) == derive(made.spec)
    file.write_text("questions:\n- {label: fit, kind: schema}\n")
    found = load_contract(made)
    assert found.flat and found.output_schema == OUTPUT
    file.write_text("questions:\n- {label: fit, kindd: schema}\n")
    with pytest.raises(UserError, match=r"contract.yaml: questions.0.kindd: unknown key 'kindd'; did you mean 'kind'"):
        load_contract(made)


def test_a_provider_suggests_questions_and_judges_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deriving, "TOKENS", 40)
    one = {"type": "object", "properties": {"label": {"enum": ["tone"]}, "question": {"enum": ["Is it kind?", "Is it clear?"]}}}
    one |= {"required": ["label", "question"], "additionalProperties": False}
    asked = {"type": "array", "items": one, "minItems": 1, "maxItems": 1}
    short = {"type": "object", "properties": {"questions": asked}, "required": ["questions"], "additionalProperties": False}
    spec = parse_spec(task(tmp_path).spec.model_dump(mode="json") | {"rubric": {}}, "test")
    with model_server() as server:
        provider = Provider(server.url, "ours", cache=tmp_path / "answers.sqlite")
        with pytest.raises(UserError, match=r"no list of questions \(it was cut off\)"):
            derive(spec, provider=provider)
        monkeypatch.setattr(deriving, "_QUESTIONS", short)
        suggested = [node for path, node in derive(spec, provider=provider).nodes() if path.startswith("suggested/")]
        assert len(suggested) == 1 and suggested[0].kind == "judge" and suggested[0].description
        contract = parse_contract(
            {"dimensions": [{"label": "d", "sub_dimensions": [{"label": "fits", "description": "Does it fit?"}]}]}, "t"
        )
        first = score_rows(contract, [Row("a text", "an answer")], provider=provider)
        again = score_rows(contract, [Row("a text", "an answer")], provider=provider)
    assert first.total[0] in (0, 0.25, 0.5, 0.75, 1) and first.total[0] == again.total[0]
    assert sum("Does it fit?" in json.dumps(body) for body in server.seen) == 1, "kept after the first time"


def founding(**more: Any) -> dict[str, Any]:
    node = {"label": "Relevance to Prompt", "description": "Is it relevant?", "scoring_type": "PI_SCORER", "weight": 2}
    return {
        "name": "Sample Contract",
        "description": "Write a story",
        "dimensions": [{"label": "Relevance", "description": "Relevance of the response", "weight": 1, "sub_dimensions": [node | more]}],
    }


def test_a_contract_of_the_founding_api_is_taken_over() -> None:
    gate = {"label": "Long", "description": "long?", "scoring_type": "LLM_AS_A_JUDGE", "action_on_low_score": True}
    code = "def score(response_text, input_text, kwargs):\n    return {'score': 1.0, 'explanation': ''}"
    raw = founding(action_dimension=gate, parameters=[0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    raw["dimensions"].append(
        {"label": "Code", "description": "", "sub_dimensions": [{"label": "c", "scoring_type": "PYTHON_CODE", "python_code": code}]}
    )
    raw["dimensions"].append({"label": "Not broken down", "description": "Is it good?"})
    made = import_contract(raw, "old.json", module="story_scorer")
    nodes = dict(made.contract.nodes())
    judge = nodes["Relevance/Relevance to Prompt"]
    assert judge.kind == "judge" and judge.weight == 2 and judge.gate and judge.gate.on_low and judge.gate.label == "Long"
    assert judge.map is not None and judge.map[1] == pytest.approx((1 / 7, 0.1)) and judge.map[-1] == (1, 1)
    assert nodes["Code/c"].scorer == "story_scorer_1:score" and made.modules == {"story_scorer_1": code + "\n"}
    assert nodes["Not broken down/Not broken down"].description == "Is it good?"
    assert isinstance(made.contract, Contract) and not made.contract.flat


def test_questions_of_its_last_era_are_flat() -> None:
    raw = [
        {"question": "Is it short?", "label": "Short", "tag": "Style", "weight": 0.5},
        {"question": "Is it rude?", "is_lower_score_desirable": True, "remap_spec": "STRICT"},
        {"question": "By a model?", "scoring_type": "CUSTOM_MODEL_SCORER", "custom_model_id": "m-1", "tag": "Style"},
    ]
    for given_as in (raw, {"questions": raw}, {"scoring_spec": raw, "name": "x"}):
        made = import_contract(given_as, "new.json", module="m")
        assert made.contract.flat and [path for path, _ in made.contract.nodes()] == [
            "Style/Short",
            "Style/3. By a model?",
            "questions/2. Is it rude?",
        ]
        assert dict(made.contract.nodes())["questions/2. Is it rude?"].lower_is_better
        assert len(made.notes) == 2


def test_likert_parameters_stand_at_the_marks() -> None:
    assert knots([0.0, 0.1, 0.2, 0.5, 1.0], "x") == [[0.2, 0.0], [0.4, 0.1], [0.6, 0.2], [0.8, 0.5], [1.0, 1.0]]
    assert knots([1 / 8 * i for i in range(1, 8)], "x")[4] == [0.5, 0.5]
    with pytest.raises(UserError, match="fall where they should rise"):
        knots([0.5, 0.4], "x")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (founding(weigth=1), "dimensions.0.sub_dimensions.0: unknown key 'weigth'; did you mean 'weight'"),
        (founding(scoring_type="PYTHON"), "'PYTHON' is no scoring type; did you mean 'PYTHON_CODE'"),
        ({"labels": []}, "is no contract of the founding API"),
        (founding() | {"dimension": 1}, "unknown key 'dimension'; did you mean 'dimensions'"),
    ],
)
def test_a_file_that_is_none_is_refused(raw: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        import_contract(raw, "old.json", module="m")
