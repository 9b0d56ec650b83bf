"""TaskSpec: what a person may write, and the one error that names file, field and nearest match for everything else."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from pp_assets.task.spec import Task, TaskSpec, list_tasks, load_task, named_data_files, parse_spec, spec_digest, spec_json_schema
from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT

SPEC = """\
version: 1
name: demo
instruction_template: |
  {{ schema }} {{ examples }}
  Text: {{ input_text }}
io_schema:
  output:
    type: object
    additionalProperties: false
    required: [team, urgent]
    properties:
      team: {type: string, enum: [billing, no, yes]}
      urgent: {type: boolean}
      order: {type: [string, "null"], x-verbatim: true}
      tags: {type: array, items: {type: string, enum: [a, b]}}
label_enums:
  team: [billing, no, yes]
"""


def write(folder: Path, text: str, name: str = "demo", file: str = "task.yaml") -> Path:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_text(text, "utf-8")
    return folder


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_task("demo", write(folder, text))
    return str(caught.value)


def test_a_task_is_loaded_with_its_defaults(tmp_path: Path) -> None:
    task = load_task("demo", write(tmp_path, SPEC))
    assert isinstance(task, Task)
    assert task.name == "demo" and task.spec.variants == ["encoder-lora", "lora-r8"]
    assert task.spec.eval_split.ratios.test == 0.2 and task.spec.decoding.few_shot == 4
    assert task.data_files() == [(tmp_path / "demo" / "data.jsonl", None)]


def test_yaml_words_stay_text(tmp_path: Path) -> None:
    task = load_task("demo", write(tmp_path, SPEC + "description: 2024-01-31\n"))
    assert task.output_schema["properties"]["team"]["enum"] == ["billing", "no", "yes"]
    assert task.spec.description == "2024-01-31"


def test_json_and_yaml_of_one_task_have_one_digest(tmp_path: Path) -> None:
    first = load_task("demo", write(tmp_path, SPEC)).digest
    (tmp_path / "demo" / "task.yaml").unlink()
    twin = yaml.safe_load(SPEC.replace("no, yes", "'no', 'yes'"))
    assert load_task("demo", write(tmp_path, json.dumps(twin), file="task.json")).digest == first


def test_digest_follows_the_content_and_not_the_layout(tmp_path: Path) -> None:
    first = load_task("demo", write(tmp_path, SPEC)).digest
    assert load_task("demo", write(tmp_path, "# a comment\n" + SPEC)).digest == first
    assert load_task("demo", write(tmp_path, SPEC + "seed: 7\n")).digest != first


def test_a_schema_may_be_a_file_beside_the_task(tmp_path: Path) -> None:
    inline = load_task("demo", write(tmp_path, SPEC))
    (tmp_path / "demo" / "out.json").write_text(json.dumps(inline.output_schema))
    head, _, tail = SPEC.partition("io_schema:")
    text = head + "io_schema: {output: out.json}\nlabel_enums:" + tail.partition("label_enums:")[2]
    assert load_task("demo", write(tmp_path, text)).digest == inline.digest
    assert "io_schema.output" in error_of(tmp_path, text.replace("out.json", "ouut.json"))
    assert "did you mean 'out.json'?" in error_of(tmp_path, text.replace("out.json", "ouut.json"))


def test_a_dumped_spec_is_read_back_equal(tmp_path: Path) -> None:
    spec = load_task("demo", write(tmp_path, SPEC)).spec
    again = parse_spec(json.loads(spec.model_dump_json()), "task_spec.json")
    assert again == spec and spec_digest(again) == spec_digest(spec)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("primry_metric: {name: x}", "primry_metric: unknown key 'primry_metric'; did you mean 'primary_metric'?"),
        ("gates: [{metrc: x, op: '>=', value: 1.0}]", "gates.0.metrc: unknown key 'metrc' (and 1 more); did you mean 'metric'?"),
        ("eval_split: {strategy: randm}", "eval_split.strategy: 'randm' is not one of the allowed values; did you mean 'random'?"),
        ("eval_split: {ratios: {trian: 0.5}}", "eval_split.ratios.trian: unknown key 'trian'; did you mean 'train'?"),
        ("eval_split: {ratios: {train: 0.5}}", "eval_split.ratios: train, val and test add up to 0.8; make it 1"),
        ("eval_split: {strategy: time}", "eval_split.time_field: strategy 'time' needs it"),
        ("eval_split: {strategy: files}", "eval_split.files: strategy 'files' needs it"),
        ("eval_split: {time_field: day}", "eval_split.time_field: strategy 'random' does not use it; strategy: time"),
        ("eval_split: {strategy: stratified, stratify_by: taem}", "'taem' is no field of the output schema; did you mean 'team'?"),
        ("rubric: {fields: {taem: {compare: exact}}}", "rubric.fields.taem: 'taem' is no field of the output schema; did you mean 'team'?"),
        ("rubric: {fields: {team: {compare: set}}}", "rubric.fields.team.compare: 'set' compares arrays, the field is enum"),
        ("rubric: {fields: {team: {compare: exct}}}", "'exct' is not one of the allowed values; did you mean 'exact'?"),
        ("variants: [Lora R8]", "variants.0: String should match pattern"),
        ("variants: [lora-r8, lora-r8]", "variants: 'lora-r8' stands twice"),
        ("seed: one", "seed: Input should be a valid integer"),
        ("archived: 1", "archived: Input should be a valid boolean"),
        ("name: again", "not YAML: key 'name' stands twice"),
        ("1: x", "not YAML: key 1 is not text"),
        ("data: [", "not YAML:"),
    ],
)
def test_a_wrong_line_is_named_with_its_field(tmp_path: Path, added: str, expected: str) -> None:
    message = error_of(tmp_path, SPEC + added + "\n")
    assert expected in message and str(tmp_path / "demo" / "task.yaml") in message


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("version: 1", "version: 2", "version: this release reads version 1, the file says 2"),
        ("name: demo", "name: other", "name: 'other' differs from its folder 'demo'"),
        ("instruction_template:", "instructions:", "unknown key 'instructions'"),
        ("{{ schema }}", "{{ shema }}", "instruction_template: template variable 'shema' does not exist; did you mean 'schema'?"),
        ("{{ input_text }}", "", "instruction_template: input_text stands 0 times"),
        ("{{ input_text }}", "{{ input_text }} {{ input_text }}", "instruction_template: input_text stands 2 times"),
        ("{{ input_text }}", "{{ input_text | upper }}", "the template changes or hides input_text"),
        ("{{ input_text }}", "{% if examples %}{{ input_text }}{% endif %}", "input_text stands 0 times"),
        ("input_text }}", "input_text }", "instruction_template: template syntax, line 2"),
        ("type: boolean", "type: bool", "io_schema.output.properties.urgent.type: not a JSON Schema"),
        ("type: boolean", "type: bool", "did you mean 'boolean'?"),
        ("items: {type: string,", "itms: {type: string,", "tags.itms: unknown JSON Schema keyword 'itms'; did you mean 'items'?"),
        ("type: boolean", "$ref: '#/$defs/x'", "io_schema.output.properties.urgent.$ref: reference '#/$defs/x' names nothing"),
        ("type: boolean", "$ref: 'http://x/y'", "reference 'http://x/y' leaves the schema"),
        ("urgent: {", "is.urgent: {", "property name 'is.urgent' holds a dot"),
        ("required: [team", "required: [taem", "io_schema.output.required: 'taem' is not among the properties; did you mean 'team'?"),
        ("x-verbatim: true", "x-verbatim: 1", "io_schema.output.properties.order.x-verbatim: must be true or false"),
        ("    type: object", "    type: array", "io_schema.output.type: the output must be an object"),
        ("team: [billing, no, yes]\n", "team: [biling]\n", "label_enums.team: 'biling' is not in the schema's enum; did you mean 'bill"),
        ("  team: [billing, no, yes]\n", "  team: [billing, no]\n", "label_enums.team: lacks 'yes' of the schema's enum"),
        ("  team: [billing, no, yes]\n", "  urgent: [x]\n", "label_enums.urgent: the output schema has no enum there (kind boolean)"),
        ("  team: [billing, no, yes]\n", "  taem: [x]\n", "label_enums.taem: 'taem' is no field of the output schema; did you mean 'team"),
    ],
)
def test_a_fault_between_the_fields_is_named(tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in SPEC
    assert expected in error_of(tmp_path, SPEC.replace(before, after))


def test_a_file_that_is_no_mapping_or_no_utf8_is_named(tmp_path: Path) -> None:
    assert "task.yaml: holds a list, not a mapping" in error_of(tmp_path, "- a\n- b\n")
    (tmp_path / "demo" / "task.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match=r"not UTF-8 text \(byte 6\)"):
        load_task("demo", tmp_path)
    (tmp_path / "demo" / "task.yaml").unlink()
    with pytest.raises(UserError, match=r"task\.json: not JSON: NaN is not JSON"):
        load_task("demo", write(tmp_path, '{"seed": NaN}', file="task.json"))
    with pytest.raises(UserError, match=r"task\.json: not JSON: duplicate key 'a'"):
        load_task("demo", write(tmp_path, '{"a": 1, "a": 2}', file="task.json"))


def test_tasks_are_found_by_name_folder_and_file(tmp_path: Path) -> None:
    write(tmp_path, SPEC)
    (tmp_path / "notes").mkdir()
    assert list_tasks(tmp_path) == ["demo"] and list_tasks(tmp_path / "nowhere") == []
    digest = load_task("demo", tmp_path).digest
    assert load_task(tmp_path / "demo", Path("/")).digest == digest
    assert load_task(str(tmp_path / "demo" / "task.yaml"), Path("/")).digest == digest
    with pytest.raises(UserError, match=r"unknown task 'dmo'; did you mean 'demo'\?"):
        load_task("dmo", tmp_path)
    with pytest.raises(UserError, match="no task file here"):
        load_task("notes", tmp_path)
    write(tmp_path, "{}", file="task.json")
    with pytest.raises(UserError, match=r"task\.yaml and task\.json both stand here"):
        load_task("demo", tmp_path)


def test_given_files_are_read_in_the_order_train_val_test(tmp_path: Path) -> None:
    text = SPEC + "eval_split: {strategy: files, files: {train: a.jsonl, test: /data/b.jsonl}}\n"
    task = load_task("demo", write(tmp_path, text))
    assert task.data_files() == [(tmp_path / "demo" / "a.jsonl", "train"), (Path("/data/b.jsonl"), "test")]
    assert named_data_files(task.spec) == [("a.jsonl", "train"), ("/data/b.jsonl", "test")]


def test_the_exported_json_schema_accepts_what_is_loaded(tmp_path: Path) -> None:
    schema = spec_json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    spec = load_task("demo", write(tmp_path, SPEC)).spec
    assert validator.is_valid(spec.model_dump(mode="json"))
    assert validator.is_valid({**spec.model_dump(mode="json"), "io_schema": {"output": "schema.json"}})
    assert not validator.is_valid({**spec.model_dump(mode="json"), "primry_metric": 1})


def test_the_rubric_says_how_a_field_is_compared(tmp_path: Path) -> None:
    spec = load_task("demo", write(tmp_path, SPEC + "rubric: {fields: {order: {compare: casefold}}}\n")).spec
    assert isinstance(spec, TaskSpec)
    assert [spec.compare(path) for path in ("team", "order", "tags")] == ["exact", "casefold", "set"]


def test_another_order_of_properties_is_another_spec(tmp_path: Path) -> None:
    spec = load_task("support-triage", PROJECT_ROOT / "tasks").spec
    raw = spec.model_dump(mode="json")
    properties = raw["io_schema"]["output"]["properties"]
    raw["io_schema"]["output"]["properties"] = dict(reversed(properties.items()))
    assert spec_digest(parse_spec(raw, "reversed")) != spec_digest(spec)
