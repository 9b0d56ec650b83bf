"""The door itself: help, version, exit codes, where words go, and the sentence for each kind of bad input."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pp_gateway.cli import main
from pp_resources.settings import PROJECT_ROOT

HEAVY = {"torch", "dagster", "mlflow", "transformers", "numpy", "pandas", "sklearn", "pyarrow", "pydantic"}
COMMANDS = [
    *(["task", name] for name in ("init", "check", "list", "import", "schema")),
    *([name] for name in ("run", "demo", "train", "eval", "predict", "compare", "power", "status", "ui")),
    *(["data", name] for name in ("build", "collect", "clean", "balance", "validate", "stats", "labels", "leaks", "versions", "diff")),
    *(["package", name] for name in ("build", "verify", "list")),
    *(["feedback", name] for name in ("add", "list")),
]


def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tasks"
    monkeypatch.setenv("PP_TASKS", str(folder))
    return folder


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a task as `pp task init` writes it."""
    folder = tasks(tmp_path, monkeypatch)
    assert main(["task", "init", "demo"]) == 0
    capsys.readouterr()
    return folder / "demo"


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "task.yaml").read_text("utf-8")
    assert before in text
    (folder / "task.yaml").write_text(text.replace(before, after), "utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_explains_itself_and_takes_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"pp {' '.join(command)}" in shown and "--json" in shown


def test_help_and_version_import_nothing_heavy_and_answer_at_once() -> None:
    code = "import sys; from pp_gateway.cli import main; main(['--help']); print('!', *{m.partition('.')[0] for m in sys.modules})"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert time.monotonic() - began < 10, "even on a machine that is busy"
    assert not set(done.stdout.rpartition("!")[2].split()) & HEAVY


def test_the_catalogue_is_listed_without_the_distributions_of_scipy() -> None:
    """Half a second of each command that knows of pipelines."""
    code = "import sys; from pp_gateway.cli import main; main(['pipeline', 'list']); print('!', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert not {"scipy.stats", "scipy.optimize", "torch"} & set(done.stdout.rpartition("!")[2].split())


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pp 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rn"], "No such command 'rn'. Did you mean 'run'?"),
        (["task", "chek", "x"], "No such command 'chek'. Did you mean 'check', 'schema'?"),
        (["run"], "Missing argument 'TASK'."),
        (["train", "support-triage"], "Missing option '--variant'"),
        (["run", "support-triage", "--sed", "1"], "No such option: --sed"),
        (["run", "support-triage", "--seed", "-1"], "Invalid value for '--seed': Input should be greater than or equal to 0"),
        (["run", "suport-triage"], "tasks: unknown task 'suport-triage'; did you mean 'support-triage'?"),
        (["run", "support-triage", "--variant", "encoder-lra"], "--variant: unknown variant 'encoder-lra'; did you mean 'encoder-lora'?"),
        (["eval", "support-triage", "-v", "lora-r9"], "--variant: unknown variant 'lora-r9'; did you mean 'lora-r8'?"),
        (["task", "check", "no/where"], "no/where: no task file here; 'pp task init where' writes"),
        (["task", "init", "Bad Name"], "task: 'Bad Name' is not a name; use lower-case letters"),
        (["package", "verify", "nothing"], "PACKAGE: no package 'nothing': neither a folder nor a task/variant that was packaged"),
        (["predict", "support-triage/encoder-lora"], "make one with 'pp run TASK'"),
        (["feedback", "add", "support-triage"], "command line: give INPUT or --file; one of them, not both"),
        (
            ["feedback", "add", "support-triage", "Hi"],
            "feedback for support-triage: nothing to store; give an output, a rating or a comment",
        ),
        (["feedback", "add", "support-triage", "Hi", "--output", "{'a': 1}"], "--output: not JSON: "),
        (["feedback", "add", "support-triage", "Hi", "--good", "--rating", "1"], "--good/--bad and --rating together; give one of them"),
    ],
)
def test_bad_input_is_one_line_on_standard_error_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("pp: ") and message in said.err and said.err.count("\n") == 1


def test_with_json_an_error_is_an_object_that_says_what_where_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "suport-triage", "--json"]) == 2
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["what"] == "unknown task 'suport-triage'" and error["how"] == "did you mean 'support-triage'?"
    assert error["where"].endswith("tasks")
    assert said.err.startswith("pp: ")
    assert main(["rn", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "command line"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("variants:", "varants:", "task.yaml: varants: unknown key 'varants'; did you mean 'variants'?"),
        ("type: boolean", "type: bolean", "io_schema.output"),
        ("{{ input_text }}", "{{ input }}", "instruction_template"),
        ("version: 1", "version: 2", "task.yaml: version: this release reads version 1, the file says 2"),
        ("name: demo", "name: other", "name: 'other' differs from its folder 'demo'; make them equal"),
        ("seed: 0", "seed: zero", "eval_split.seed"),
    ],
)
def test_a_fault_in_the_task_file_names_file_and_field(
    demo: Path, before: str, after: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(demo, before, after)
    for command in (["task", "check"], ["run"], ["data", "build"], ["feedback", "list"]):
        assert main([*command, "demo"]) == 2
        assert message in capsys.readouterr().err


def test_a_task_can_be_started_checked_and_listed(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(demo, "variants: [encoder-lora, lora-r8]", "variants: [lora-r8]")
    edit(demo, "promptprecision/tiny-base", "sentence-transformers/all-MiniLM-L6-v2")
    assert main(["task", "check", "demo", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and report["summary"]["rows"]["kept"] == 12
    assert main(["task", "check", str(demo)]) == 0
    shown = capsys.readouterr().out
    assert "rows: 12 kept of 12; train 9, val 1, test 2" in shown and shown.endswith("demo: ready\n")
    assert main(["task", "list", "--json"]) == 0
    assert [row["task"] for row in json.loads(capsys.readouterr().out)] == ["demo"]


def test_a_check_that_finds_problems_lists_them_all_and_ends_with_2(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(demo, "promptprecision/tiny-base", "promptprecision/tiny-bas")
    edit(demo, "metric: schema_valid_rate", "metric: schema_valid_rat")
    with (demo / "data.jsonl").open("a") as lines:
        lines.write('{"input_text": "x", "output_json": {"team": "sales", "urgent": true, "order_id": null}}\n')
    assert main(["task", "check", "demo"]) == 2
    said = capsys.readouterr()
    assert "unknown base model 'promptprecision/tiny-bas'" in said.err and "did you mean 'schema_valid_rate'?" in said.err
    assert "quarantine: data.jsonl:13: output_json" in said.out and "sales" in said.out
    assert said.out.endswith("demo: 2 problems\n")


def test_a_broken_task_is_listed_with_its_error(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(demo, "version: 1", "version: 7")
    assert main(["task", "list"]) == 0
    assert "this release reads version 1" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "demo: " in capsys.readouterr().out


def test_data_that_is_elsewhere_is_imported_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tasks(tmp_path, monkeypatch)
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "additionalProperties": false, "required": ["k"], "properties": {"k": {"enum": ["a", "b"]}}}')
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"input_text": "one", "output_json": {"k": "a"}}\n{"input_text": "two", "output_json": {"k": "b"}}\n')
    given = ["--schema", str(schema), "--train", str(rows), "--test", str(rows), "--json"]
    assert main(["task", "import", "theirs", *given]) == 0
    assert json.loads(capsys.readouterr().out) == {"task": "theirs", "folder": str(folder / "theirs")}
    missing = ["--schema", str(schema), "--train", str(tmp_path / "row.jsonl"), "--test", str(rows)]
    assert main(["task", "import", "more", *missing]) == 2
    assert "train: no such file:" in (said := capsys.readouterr().err) and "did you mean 'rows.jsonl'?" in said


def test_the_schema_of_a_task_file_is_printed_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["instruction_template"]["type"] == "string"


def test_before_any_run_lists_are_empty_and_say_what_to_do(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "list"]) == 0
    assert "pp run TASK" in capsys.readouterr().out
    assert main(["status", "demo", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)["tasks"][0]
    assert state["data"] == "not read" and [v["verdict"] for v in state["variants"]] == [None, None]


def test_another_seed_makes_another_version_of_the_same_task(demo: Path, tmp_path: Path) -> None:
    from pp_assets.task.dataset import dataset_inputs
    from pp_assets.task.spec import load_task
    from pp_gateway.cli.tasks import settle

    settings, name = settle("demo")
    seeded, same = settle(str(demo), seed=7)
    plain, other = load_task(name, settings.tasks), load_task(same, seeded.tasks)
    assert name == same and (plain.spec.seed, other.spec.seed) == (0, 7) and plain.digest != other.digest
    assert plain.spec.model_copy(update={"seed": 7}) == other.spec
    assert dataset_inputs(plain) == dataset_inputs(other), "the data is the task's own"
    assert settle("demo", seed=7)[0].tasks == seeded.tasks


def test_another_seed_does_not_reach_outside_of_the_task(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (demo / "data.jsonl").rename(demo.parent / "data.jsonl")
    edit(demo, "data: data.jsonl", "data: ../data.jsonl")
    assert main(["run", "demo", "--seed", "3"]) == 2
    assert "'../data.jsonl' is outside of the task's folder; --seed needs the file inside" in capsys.readouterr().err


def test_a_number_of_threads_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PP_THREADS", "many")
    assert main(["status"]) == 2
    assert "PP_THREADS: 'many' is not a number of threads" in capfd.readouterr().err
