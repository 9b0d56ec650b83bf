"""What is wrong with a workflow is told at once, each with its line, before anything is asked."""

from pathlib import Path

import pytest
from workflow_place import EXAMPLES, copied_examples

from pp_assets.providers import LOCAL, provider_table
from pp_assets.workflows.problems import BadWorkflow
from pp_assets.workflows.start import checked
from pp_assets.workflows.table import SHIPPED
from pp_resources.errors import UserError
from pp_resources.settings import Settings

GOOD = """\
workflow:
  name: good
  defaults:
    variables: {topic: parcels}
  steps:
    - name: write_cases
      type: claude
      prompt: |
        Write cases
        about {topic}.
      output_file: cases.json
    - name: answer
      type: claude_batch
      batch_config:
        test_suite: cases.json
        metrics: [exact_match]
    - name: judge
      type: gemini_instructor
      prompt: "Judge {answer.metrics}"
      output_schema: {good: boolean}
"""
# What is put in the place of what, a word of the line that is told, what is told there.
BROKEN = {
    "step type": (
        "type: claude_batch",
        "type: claude_btach",
        "claude_btach",
        "unknown step type 'claude_btach'; did you mean 'claude_batch'?",
    ),
    "variable": (
        "about {topic}.",
        "about {topics}.",
        "about {topics}",
        "missing variable {topics} of step 'write_cases'; did you mean 'topic'?",
    ),
    "cycle": (
        "Write cases",
        "Write cases unlike {answer}",
        "name: write_cases",
        "the steps read each other in a circle: write_cases → answer → write_cases",
    ),
    "type in a short schema": (
        "{good: boolean}",
        "{good: bolean}",
        "bolean",
        "step 'judge': unknown type 'bolean'; did you mean 'boolean'?",
    ),
    "JSON Schema": (
        "{good: boolean}",
        "{properties: {good: {type: yes}}}",
        "type: yes",
        "step 'judge': no JSON Schema: 'yes' is not valid",
    ),
    "key": ("      output_file", "      ouput_file", "ouput_file", "unknown key 'ouput_file'; did you mean 'output_file'?"),
    "key of another mode": ('prompt: "Judge', 'error_scenarios: [typos]\n      prompt: "Judge', "error_scenarios", "it goes with robust"),
    "name twice": ("name: judge", "name: answer", "type: gemini_instructor", "step name 'answer' stands twice; the first is in line 12"),
    "function": (
        "output_schema: {good: boolean}",
        "output_schema: {good: boolean}\n      gemini_functions:\n        - name: power_analisys",
        "power_analisys",
        "unknown function 'power_analisys'; did you mean 'power_analysis'?",
    ),
    "parameter of a function": (
        "output_schema: {good: boolean}",
        "output_schema: {good: boolean}\n      functions:\n        - name: power_analysis\n          arguments:\n            efect: 0.1",
        "efect",
        "function 'power_analysis' has no parameter 'efect'; did you mean 'effect'?",
    ),
    "component": (
        'prompt: "Judge {answer.metrics}"',
        "prompt_template: components/prompts/few_shot_tmplate.yaml",
        "few_shot_tmplate",
        "there is no prompt component 'components/prompts/few_shot_tmplate.yaml'; did you mean 'components/prompts/few_shot",
    ),
    "type of a value": (
        "metrics: [exact_match]",
        "limit: many",
        "limit: many",
        "batch_config.limit: Input should be a valid integer (given: 'many')",
    ),
    "output file": (
        "output_file: cases.json",
        "output_file: ../cases.json",
        "../cases.json",
        "output_file '../cases.json' does not stay in workspace_dir",
    ),
    "metric": ("[exact_match]", "[exact_mach]", "exact_mach", "unknown metric 'exact_mach'; did you mean 'exact_match'?"),
    "file of rows": (
        "test_suite: cases.json",
        "test_suite: case.json",
        "case.json",
        "no step writes 'case.json', and there is no such file",
    ),
    "loop": ("about {topic}.", "{for a in topic} {a}", "{for a in topic}", "{for a in topic} has no {endfor}"),
    "field": ("{answer.metrics}", "{answer.metrics} {judge_it.sure}", "judge_it", "missing variable {judge_it.sure}"),
    "step before": ('prompt: "Judge', 'after: [anser]\n      prompt: "Judge', "anser", "unknown step 'anser'; did you mean 'answer'?"),
    "function of Python": (
        "output_schema: {good: boolean}",
        "output_schema: {good: boolean}\n      functions:\n        - name: run\n          call: os:system",
        "os:system",
        "function 'run': 'os:system' cannot be imported (it is of Python's own library)",
    ),
    "no rows": ("        test_suite: cases.json\n", "", "name: answer", "step 'answer' has no rows"),
    "schema that is missing": (
        "      output_schema: {good: boolean}\n",
        "",
        "name: judge",
        "'output_schema' is missing for type 'gemini_instructor'",
    ),
}
FOLLOWED = ("name twice", "key", "output file", "no rows")  # by others, which come of it


def problems(folder: Path, text: str) -> list[tuple[int, str]]:
    """Line and words of all problems of a workflow."""
    file = folder / "flow.yaml"
    file.write_text(text, "utf-8")
    try:
        checked(Settings.from_env(), file, [], None)
    except BadWorkflow as error:
        assert all(one.file == file for one in error.problems)
        return [(one.line, "; ".join(filter(None, [one.what, one.how]))) for one in error.problems]
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied_examples(tmp_path)


def test_a_sound_workflow_has_no_problem_and_steps_in_order(folder):
    assert problems(folder, GOOD) == []
    _, _, plan, _ = checked(Settings.from_env(), folder / "flow.yaml", [], None)
    assert [(one.name, one.mode, one.reads) for one in plan] == [
        ("write_cases", "ask", ()),
        ("answer", "batch", ("write_cases",)),
        ("judge", "instructor", ("answer",)),
    ]
    assert plan[0].form and plan[0].form["required"] == ["cases"], "a suite is asked for in the form of one"


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_told_with_its_line(folder, what):
    old, new, word, said = BROKEN[what]
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    (line,) = [number for number, written in enumerate(text.splitlines(), 1) if word in written]
    found = problems(folder, text)
    assert len(found) == 1 or what in FOLLOWED, found
    if what == "name twice":
        line -= 1
    assert any(number == line and said in words for number, words in found), found


def test_all_that_is_wrong_is_told_at_once(folder):
    text = GOOD
    for what in ("step type", "variable", "type in a short schema", "metric", "output file", "component"):
        text = text.replace(*BROKEN[what][:2])
    found = problems(folder, text)
    assert [number for number, _ in found] == [10, 11, 13, 15, 19, 20]  # the file of the suite is not written under that name any more


def test_a_variable_of_a_file_that_is_shared_is_missed_there(folder):
    text = GOOD.replace('prompt: "Judge {answer.metrics}"', "prompt_template: few_shot_template")
    (folder / "flow.yaml").write_text(text, "utf-8")
    with pytest.raises(BadWorkflow) as error:
        checked(Settings.from_env(), folder / "flow.yaml", [], None)
    assert {one.file.name for one in error.value.problems} == {"few_shot_template.yaml"}
    assert [one.line for one in error.value.problems] == [3, 6, 13]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [", r"flow.yaml:1: not YAML"),
        ("steps:\n  - name: a\n    name: b\n", r"flow.yaml:3: not YAML: key 'name' stands twice"),
        ("steps: []\n", r"flow.yaml:1: steps: List should have at least 1 item"),
        ("name: x\n", r"flow.yaml:1: steps: 'steps' is missing"),
        ("workflow: 3\n", r"flow.yaml:1: 'workflow' is no mapping"),
        ("workflow:\n  steps: [{name: a, type: claude, prompt: x}]\nother: 1\n", r"flow.yaml:3: unknown key 'other' beside 'workflow'"),
        ("steps: [{name: A b, type: claude, prompt: x}]\n", r"flow.yaml:1: name: String should match pattern"),
    ],
)
def test_what_is_no_workflow_is_told(tmp_path, text, said):
    (tmp_path / "flow.yaml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=said):
        checked(Settings.from_env(), tmp_path / "flow.yaml", [], None)


@pytest.mark.parametrize(
    ("name", "said"),
    [("flwo.yaml", "no such file; did you mean 'flow.yaml'?"), ("there/flow.yaml", "no such file"), ("there", "is a folder; give")],
)
def test_a_file_that_is_not_there_is_told_beside_the_like_of_it(tmp_path, name, said):
    (tmp_path / "there").mkdir()
    for other in ("flow.yaml", "flow.yam", "there/notes.txt", "there/flow"):
        (tmp_path / other).write_text("steps: []\n", "utf-8")
    with pytest.raises(UserError) as error:
        checked(Settings.from_env(), tmp_path / name, [], None)
    assert str(error.value).startswith(f"{tmp_path / name}: {said}") and "known" not in str(error.value)
    assert "notes" not in str(error.value) and "flow.yam'" not in str(error.value)


def test_every_model_of_the_shipped_types_is_one_that_the_table_of_providers_lists(tmp_path):
    listed = provider_table(Settings(tmp_path, tmp_path, 1))
    for name in SHIPPED.models.values():
        provider, _, model = name.partition("/")
        assert provider == LOCAL or model in listed[provider].models, name


def test_types_are_a_table_that_the_user_changes(folder):
    (folder / "step_types.yaml").write_text('models: {qwen: "vllm/qwen3"}\nmodes: {"{model}_jury": parallel}\n')
    text = (
        GOOD.replace("type: claude\n", "type: qwen_jury\n")
        .replace("      output_file: cases.json\n", "")
        .replace("        test_suite: cases.json\n", "        test_suite: [{input: a, expected: b}]\n")
    )
    assert problems(folder, text) == []
    _, _, plan, _ = checked(Settings.from_env(), folder / "flow.yaml", [], None)
    assert (plan[0].mode, plan[0].model) == ("parallel", "vllm/qwen3")
    (folder / "step_types.yaml").write_text('modes: {"{model}_jury": paralel}\n')
    with pytest.raises(UserError, match=r"step_types.yaml: modes.\{model\}_jury: unknown mode 'paralel'; did you mean 'parallel'"):
        checked(Settings.from_env(), folder / "flow.yaml", [], None)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("[a-z]*_*.yaml")), ids=lambda file: file.stem)
def test_the_examples_are_sound(file):
    if ".vars" not in file.name:
        checked(Settings.from_env(), file, [], None)
