"""`pp task check`, `pp task init` and `pp task import`: what they write and what they find."""

import json
from pathlib import Path

import pytest

from pp_assets.prompts.quality import quality_lines
from pp_assets.task.check import check_task
from pp_assets.task.dataset import build_dataset
from pp_assets.task.scaffold import import_task, init_task
from pp_assets.task.spec import load_task
from pp_assets.validation import quality_of
from pp_resources.errors import UserError


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "task.yaml").read_text("utf-8")
    assert before in text
    (folder / "task.yaml").write_text(text.replace(before, after), "utf-8")


def test_a_new_task_is_ready_to_run(tmp_path: Path) -> None:
    folder = init_task("my-task", tmp_path)
    assert sorted(p.name for p in folder.iterdir()) == ["data.jsonl", "task.yaml"] and folder == tmp_path / "my-task"
    edit(folder, "variants: [encoder-lora, lora-r8]", "variants: [lora-r8]")
    edit(folder, "base_model_id: promptprecision/tiny-base", "base_model_id: sentence-transformers/all-MiniLM-L6-v2")
    report = check_task(load_task("my-task", tmp_path))
    assert report.problems == [] and report.ok
    assert report.summary["rows"] == {"read": 12, "blank": 0, "kept": 12, "train": 9, "val": 1, "test": 2}
    assert any("test has 2 rows" in warning for warning in report.warnings)
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True


def test_the_prompt_of_a_new_task_passes_its_own_check(tmp_path: Path) -> None:
    init_task("my-task", tmp_path)
    found = quality_of(load_task("my-task", tmp_path).spec)
    assert (found.clarity_score, found.specificity, found.token_efficiency) == (1.0, "high", "optimal"), quality_lines(found)


def test_a_variant_that_does_not_run_everywhere_says_so(tmp_path: Path) -> None:
    folder = init_task("my-task", tmp_path)
    edit(folder, "variants: [encoder-lora, lora-r8]", "variants: [lora-r8, alora-r16]")
    found = [warning for warning in check_task(load_task("my-task", tmp_path)).warnings if "adapters of" in warning]
    assert found == [f"{folder / 'task.yaml'}: variants: adapters of alora-r16 run in transformers, llama.cpp only"]


def test_a_taken_or_impossible_name_is_refused(tmp_path: Path) -> None:
    init_task("one", tmp_path)
    with pytest.raises(UserError, match="is there already"):
        init_task("one", tmp_path)
    for name in ("Big", "../x", "a b", ""):
        with pytest.raises(UserError, match="is not a name; use lower-case letters"):
            init_task(name, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    assert load_task(init_task("2024", tmp_path), tmp_path).name == "2024"


def test_everything_that_would_stop_a_run_is_found_at_once(tmp_path: Path) -> None:
    folder = init_task("demo", tmp_path)
    edit(folder, "base_model_id: promptprecision/tiny-base", "base_model_id: promptprecision/tiny-bas\nencoder_model_id: ./nowhere/at/all")
    edit(folder, "[encoder-lora, lora-r8]", "[encoder-lra]")
    edit(folder, "name: object_exact_match", "name: object_exact_mach")
    edit(folder, "metric: schema_valid_rate", "metric: schema_valid_rat")
    problems = check_task(load_task("demo", tmp_path)).problems
    file = folder / "task.yaml"
    expected = [
        f"{file}: base_model_id: unknown base model 'promptprecision/tiny-bas'; did you mean 'promptprecision/tiny-base'?",
        f"{file}: encoder_model_id: unknown base model './nowhere/at/all'",
        f"{file}: demo: primary_metric.name: systems cannot be compared by 'object_exact_mach'; did you mean 'object_exact_match'?",
        f"{file}: gates.0.metric: unknown metric 'schema_valid_rat'; did you mean 'schema_valid_rate'?",
        f"{file}: variants.0: unknown variant 'encoder-lra'; did you mean 'encoder-lora'?",
    ]
    assert len(problems) == len(expected)
    for found, start in zip(problems, expected):
        assert found.startswith(start)


def test_bad_lines_are_shown_and_missing_data_is_a_problem(tmp_path: Path) -> None:
    folder = init_task("demo", tmp_path)
    with (folder / "data.jsonl").open("a") as data:
        data.write('{"input_text": "x", "output_json": {"team": "sales", "urgent": true, "order_id": null}}\n')
    report = check_task(load_task("demo", tmp_path))
    assert report.quarantine[0]["line"] == 13 and "is not one of" in report.quarantine[0]["reason"]
    assert any("1 of 13 lines are in quarantine (1 schema)" in warning for warning in report.warnings)
    (folder / "data.jsonl").unlink()
    assert any("no such file" in problem for problem in check_task(load_task("demo", tmp_path)).problems)


def test_a_variant_that_cannot_learn_the_output_is_a_problem(tmp_path: Path) -> None:
    folder = init_task("demo", tmp_path)
    edit(folder, 'order_id: {type: [string, "null"], minLength: 1, x-verbatim: true}', "order_id: {type: object}")
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]
    lines = (json.dumps(row | {"output_json": row["output_json"] | {"order_id": {"n": i}}}) for i, row in enumerate(rows))
    (folder / "data.jsonl").write_text("\n".join(lines))
    problems = check_task(load_task("demo", tmp_path)).problems
    assert any("variants: encoder-lora:" in problem and "order_id" in problem for problem in problems)
    assert not any("lora-r8" in problem for problem in problems)


def test_keywords_that_constrained_decoding_cannot_enforce_are_named(tmp_path: Path) -> None:
    folder = init_task("demo", tmp_path)
    edit(folder, "minLength: 1, x-verbatim: true", 'minLength: 1, x-verbatim: true, not: {const: "?"}')
    warnings = check_task(load_task("demo", tmp_path)).warnings
    assert any(w.endswith("io_schema.output: constrained decoding cannot enforce properties.order_id.not") for w in warnings)


def test_an_imported_task_points_at_its_data(tmp_path: Path) -> None:
    output = {"type": "object", "description": "Say it: no", "required": ["a"], "properties": {"a": {"enum": ["x", "y"]}}}
    (tmp_path / "schema.json").write_text(json.dumps(output))
    for name, count in (("train", 30), ("test", 8)):
        lines = (json.dumps({"input_text": f"{name} text number {i * 7919} here", "output_json": {"a": "x"}}) for i in range(count))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    train, test, schema = (tmp_path / name for name in ("train.jsonl", "test.jsonl", "schema.json"))
    folder = import_task("given", tmp_path / "tasks", schema, train, test)
    task = load_task("given", tmp_path / "tasks")
    assert [path for path, _ in task.data_files()] == [train, test] and task.spec.description == "Say it: no"
    assert sorted(p.name for p in folder.iterdir()) == ["output.schema.json", "task.yaml"]
    (tmp_path / "out").mkdir()
    metadata = build_dataset(task, tmp_path / "out")
    assert metadata["train"] + metadata["val"] == 30 and metadata["test"] == 8
    with pytest.raises(UserError, match=r"no such file: .*tset\.jsonl; did you mean 'test\.jsonl'\?"):
        import_task("other", tmp_path / "tasks", schema, train, tmp_path / "tset.jsonl")
    schema.write_text('{"type": "object", "propertys": {}}')
    with pytest.raises(UserError, match=r"schema\.json: propertys: unknown JSON Schema keyword 'propertys'; did you mean 'properties'\?"):
        import_task("other", tmp_path / "tasks", schema, train, test)
    assert [p.name for p in (tmp_path / "tasks").iterdir()] == ["given"]


def test_a_metric_by_which_systems_cannot_be_compared_is_no_primary_one(tmp_path):
    folder = init_task("demo", tmp_path)
    edit(folder, "name: object_exact_match", "name: latency_ms_p50")
    (problem,) = check_task(load_task("demo", tmp_path)).problems
    assert "demo: primary_metric.name: systems cannot be compared by 'latency_ms_p50'" in problem
