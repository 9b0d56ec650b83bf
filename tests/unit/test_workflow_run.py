"""The document's workflows, run against a provider on this machine."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PP, command_line
from model_server import model_server
from workflow_place import CASES, answering, copied_examples, says

from pp_resources.instance import open_instance
from pp_resources.models.remote import AT_ONCE
from pp_resources.settings import Settings

FLOW = """\
name: small
defaults: {{workspace_dir: "{root}/out", checkpoint_enabled: {checkpoints}}}
steps:
  - name: cases
    type: claude
    prompt: "Write cases about {{topic}}"
    output_file: cases.json
  - name: answer
    type: claude_batch
    batch_config: {{test_suite: cases.json, metrics: [accuracy]}}
  - name: judge
    type: gemini_instructor
    prompt: "Is {{answer.metrics.accuracy.value}} good?"
    options: {{retries: {retries}}}
    output_schema: {{good: boolean, why: string}}
"""


@pytest.fixture
def place(tmp_path, capfd, monkeypatch):
    """A provider, the commands, and the examples in a folder that is the current one."""
    call = command_line(tmp_path, capfd)
    call.root = tmp_path
    monkeypatch.chdir(copied_examples(tmp_path))
    with answering() as call.provider:
        yield call


def flow(root: Path, *, checkpoints: str = "true", retries: int = 0) -> str:
    file = root / "small.yaml"
    file.write_text(FLOW.format(root=root, checkpoints=checkpoints, retries=retries), "utf-8")
    return str(file)


def output(told, step):
    return json.loads((Path(told["steps"][step]["output"]) / "output.json").read_text("utf-8"))


def test_the_optimisation_of_a_prompt(place):
    told = place("workflow", "run", "prompt_optimization.yaml", "--json").json
    assert [one["mode"] for one in told["steps"].values()] == ["ask", "parallel", "ask"] and told["state"] == "done"
    tested = output(told, "parallel_test")["instances"]
    assert [one["name"] for one in tested] == ["tester_1", "tester_2", "tester_3"]
    assert tested[1]["asked"]["system"].startswith("You are the tester 2.\n\nVariation 2: say billing")
    assert [one["metrics"]["exact_match"]["value"] for one in tested] == [1.0, pytest.approx(1 / 3, abs=1e-6), 1.0]
    asked = place.provider.seen[0]["response_format"]["json_schema"]["schema"]
    assert asked["properties"]["variations"]["minItems"] == 3, "what is read of it is the schema that it is asked with"
    found = output(told, "analyze_results")
    by_name = {call["function"]: call["result"] for call in found["calls"]}
    pairs = {(one["a"], one["b"]): one for one in by_name["statistical_analysis"]["pairs"]}
    assert pairs["tester_1", "tester_2"]["winner"] == "tester_1" and pairs["tester_1", "tester_3"]["winner"] is None
    assert pairs["tester_1", "tester_2"]["p_value"] == pytest.approx(2 * 0.5**8, abs=1e-6), "the exact McNemar test of eight against none"
    assert "0.007812" in place.provider.seen[-1]["messages"][-1]["content"], "results are given back"
    assert by_name["calculate_metrics"]["tester_2"]["exact_match"]["n"] == 12
    assert told["totals"]["asked"] == len(place.provider.seen) == 1 + 3 * 12 + 2 and told["totals"]["cost"] is None
    report = (Path(told["folder"]) / "report.md").read_text("utf-8")
    assert "unpriced" in report and "parallel_test" in report and json.loads((Path(told["folder"]) / "report.json").read_text())["totals"]


def test_the_comprehensive_evaluation(place):
    told = place("workflow", "run", "comprehensive_evaluation.yaml", "--json").json
    suite = Path(told["steps"]["prepare_test_suite"]["output_file"])
    assert [one["input"] for one in json.loads(suite.read_text("utf-8"))["cases"]] == CASES
    metrics = output(told, "run_accuracy_tests")["metrics"]
    assert list(metrics) == ["exact_match", "f1_score", "bleu"] and metrics["exact_match"]["low"] > 0.7
    robust = output(told, "robustness_testing")["scenarios"]
    assert list(robust) == ["malformed_input", "extreme_length", "multilingual"] and list(robust["extreme_length"]) == ["long", "short"]
    assert robust["malformed_input"]["malformed"]["verdict"] in ("holds", "cannot tell", "degrades")
    calls = {call["function"]: call["result"] for call in output(told, "bias_analysis")["calls"]}
    assert calls["fairness_metrics"]["asked"] > 100 and calls["fairness_metrics"]["dimensions"]["name_gender"]["n"] == 12
    assert calls["demographic_analysis"]["mentioned"] == []


def test_the_ab_test_takes_its_numbers_from_statistics(place):
    told = place("workflow", "run", "ab_test.yaml", "--json").json
    prompt = place.provider.seen[0]["messages"][-1]["content"]
    assert prompt == "Design A/B test for comparing the model that is in use vs the cheaper one"
    tested = output(told, "parallel_execution")["instances"]
    assert "A text of 73 characters was read." in tested[0]["asked"]["system"], "the design is what they go by"
    assert output(told, "statistical_analysis") == {"winner": "none is shown", "confidence": 0.875, "p_value": 0.125, "effect_size": 0.5}
    form = place.provider.seen[-1]["response_format"]["json_schema"]["schema"]
    assert form["properties"]["p_value"] == {"const": 0.125}, "the paired test of four against none"


def test_the_preparation_of_a_data_set(place):
    told = place("workflow", "run", "dataset_preparation.yaml", "--json").json
    found = output(told, "collect_examples")
    assert [row["input"][:9] for row in found["rows"]] == ["My parcel", "You took ", "The blue ", "Nobody an"]
    assert [row["reason"] for row in found["rejected"]] == ["does not stand in the source"]
    notes = output(told, "annotate_data")["rows"]
    assert [row["expected"] for row in notes] == ["delivery", "billing", "delivery", "billing"] and notes[0][
        "explanation"
    ] == "by its words"
    more = output(told, "augment_dataset")
    assert more["made"] == sum(more["by_method"].values()) > 0 and more["rows"][:4] == [{**row} for row in more["rows"][:4]]
    assert {"paraphrase", "back_translation"} >= set(more["by_method"]) - {"token_replacement"}


def test_components_and_the_template_of_examples(place):
    told = place("workflow", "run", "few_shot.yaml", "--json").json
    asked = output(told, "answer_cases")["instances"][0]["asked"]["user"]
    assert "Input: Where is my parcel?\nOutput: delivery\nReasoning: It is about a shipment on its way.\nInput: These" in asked
    assert place.provider.seen[0]["messages"][-1]["content"].startswith("Generate 4 test cases for routing messages:")
    counted = output(told, "count")["metrics"]["tester_with_examples"]
    assert counted["accuracy"]["value"] == counted["rouge"]["value"] == 1.0
    assert counted["task_specific_metric"] == {**counted["task_specific_metric"], "value": None, "reason": "no scorer was given for it"}
    calls = {call["function"]: call for call in output(told, "compare")["calls"]}
    assert calls["perform_t_test"]["result"]["test"] == "paired t" and calls["power_analysis"]["result"]["items_needed"] > 100
    assert calls["calculate_effect_size"]["result"]["difference"] == pytest.approx(8 / 12, abs=1e-6)


def test_what_has_not_changed_is_not_asked_again(place):
    file = flow(place.root)
    first = place("workflow", "run", file, "--set", "topic=parcels", "--json").json
    asked = len(place.provider.seen)
    second = place("workflow", "run", file, "--set", "topic=parcels", "--json").json
    assert len(place.provider.seen) == asked and second["totals"]["reused"] == 3
    assert second["totals"]["tokens_in"] == 0 and first["totals"]["tokens_in"] == 10 * asked
    Path(first["steps"]["cases"]["output_file"]).unlink()
    other = Path(file).read_text("utf-8").replace("good?", "good enough?")
    Path(file).write_text(other, "utf-8")
    third = place("workflow", "run", file, "--set", "topic=parcels", "--json").json
    assert [one["reused"] for one in third["steps"].values()] == [True, True, False] and len(place.provider.seen) == asked + 1
    assert (place.root / "out" / "cases.json").is_file(), "the file is written again"
    listed = place("workflow", "list", "--json").json
    assert [one["id"] for one in listed] == [third["id"], second["id"], first["id"]] and {one["state"] for one in listed} == {"done"}
    assert place("workflow", "show", first["id"][-8:], "--json").json["steps"]["answer"]["mode"] == "batch"


def test_a_run_is_a_run_of_dagster(place):
    told = place("workflow", "run", flow(place.root), "--set", "topic=parcels", "--json").json
    instance = open_instance(Settings.from_env())
    try:
        (run,) = instance.get_runs()
        assert run.job_name == "workflow_small" and run.run_id == told["dagster_runs"][0] and run.status.value == "SUCCESS"
        done = [
            entry.step_key
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event_type and "STEP_SUCCESS" in str(entry.dagster_event_type)
        ]
        assert done == ["cases", "answer", "judge"] and run.tags["pp/workflow_run"] == told["id"]
    finally:
        instance.dispose()


def test_a_step_is_tried_again(place, monkeypatch):
    table = f"providers:\n  here: {{url: '{place.provider.url}', retries: {{most: 0}}}}\n"
    Settings.from_env().home.mkdir(parents=True, exist_ok=True)
    (Settings.from_env().home / "providers.yaml").write_text(table, "utf-8")
    monkeypatch.setattr("pp_assets.workflows.graph.RETRY_PAUSE", 0.01)
    place.provider.fail = [500]
    said = place("workflow", "run", flow(place.root), "--set", "topic=parcels")
    assert said.code == 2 and "step cases: http" in said.err and "status 500" in said.err
    (run,) = place("workflow", "list", "--json").json
    assert run["state"] == "failed" and "status 500" in (Settings.from_env().home / "workflow_runs" / run["id"] / "report.md").read_text()
    refused = place("workflow", "run", flow(place.root), "--resume", "--json").json  # with the variables of the run that failed
    assert refused["state"] == "done" and refused["id"] == run["id"] and len(refused["dagster_runs"]) == 2

    def later(asked):
        if "good?" in asked["messages"][-1]["content"]:
            place.provider.fail += [500] * later.left
            later.left = 0
        return says(asked)

    later.left = 2
    place.provider.says = later
    told = place("workflow", "run", flow(place.root, retries=3), "--set", "topic=letters", "--json").json
    assert told["state"] == "done"
    assert place("workflow", "run", flow(place.root), "--resume").code == 2


def test_an_answer_that_breaks_its_schema_is_asked_for_again_with_the_error(place):
    wrong = ['{"good": "yes", "why": ""}', "It is good."]

    def broken(asked):
        return wrong.pop(0) if wrong and "good?" in asked["messages"][1]["content"] else says(asked)

    place.provider.says = broken
    told = place("workflow", "run", flow(place.root), "--set", "topic=parcels", "--json").json
    last = place.provider.seen[-1]["messages"]
    assert output(told, "judge") == {"good": True, "why": "some words"} and told["steps"]["judge"]["asked"] == 3
    assert last[2]["content"] == "It is good." and "not JSON" in last[3]["content"]
    assert "'yes' is not of type 'boolean'" in place.provider.seen[-2]["messages"][3]["content"]


@pytest.mark.parametrize("checkpoints", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on(place, checkpoints):
    file, killed = flow(place.root, checkpoints=checkpoints), []

    def until(asked):
        if len(place.provider.seen) == 8 and not killed:
            killed.append(True)
            os.kill(process.pid, signal.SIGKILL)
        return says(asked)

    place.provider.says = until
    process = subprocess.Popen([sys.executable, "-c", PP, "workflow", "run", file, "--set", "topic=parcels"])
    assert process.wait(120) == -signal.SIGKILL
    (run,) = place("workflow", "list", "--json").json
    assert run["state"] == "interrupted"
    before = len(place.provider.seen)
    told = place("workflow", "run", file, "--resume", "--json").json
    assert told["state"] == "done" and told["id"] == run["id"] and told["steps"]["cases"]["reused"]
    total, under_way = 1 + len(CASES) + 1, AT_ONCE
    assert total <= len(place.provider.seen) <= total + under_way and before < total
    if checkpoints == "false":
        place("workflow", "run", file, "--set", "topic=parcels")
        assert len(place("workflow", "list", "--json").json) == 2


def test_all_problems_are_told_and_nothing_is_asked(place):
    text = Path(flow(place.root)).read_text("utf-8").replace("claude_batch", "claude_bach").replace("boolean", "bool_")
    (place.root / "bad.yaml").write_text(text, "utf-8")
    for command in ("check", "run"):
        said = place("workflow", command, str(place.root / "bad.yaml"))
        assert said.code == 2 and [line.split("bad.yaml:")[1].split(":")[0] for line in said.err.splitlines() if "bad.yaml:" in line] == [
            "6",
            "9",
            "15",
        ]
        found = place("workflow", command, str(place.root / "bad.yaml"), "--json")
        assert found.code == 2 and [one["line"] for one in found.json["problems"]] == [6, 9, 15]
    assert place.provider.seen == [] and place("workflow", "list").out == "no runs\n"


def test_a_key_that_is_not_set_is_told_before_anything_is_written(place, monkeypatch):
    for name in ("PP_PROVIDER_URL", "PP_PROVIDER_MODEL", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    file = flow(place.root)
    said = place("workflow", "run", file, "--set", "topic=parcels")
    how = "is not set; set it to your key of"
    assert said.code == 2 and said.err.splitlines() == [
        f"pp: {file}:5: step 'cases': ANTHROPIC_API_KEY: {how} anthropic, or name another model",
        f"pp: {file}:12: step 'judge': GEMINI_API_KEY: {how} google, or name another model",
    ]
    problems = place("workflow", "run", file, "--set", "topic=parcels", "--json").json["problems"]
    assert [(one["line"], one["what"]) for one in problems] == [
        (5, "step 'cases': ANTHROPIC_API_KEY: is not set"),
        (12, "step 'judge': GEMINI_API_KEY: is not set"),
    ]
    assert place("workflow", "list").out == "no runs\n" and not (place.root / "out").exists()
    monkeypatch.setenv("PP_PROVIDER_URL", place.provider.url)
    monkeypatch.setenv("PP_PROVIDER_MODEL", "fitting")
    assert place("workflow", "run", file, "--set", "topic=parcels").code == 0


def test_the_shipped_model_does_a_workflow(place, monkeypatch):
    text = """\
defaults: {max_tokens: 200}
steps:
  - name: generate_ideas
    type: local
    prompt: "Ideas for a shop"
    options: {schema: {ideas: {type: array, minItems: 2, maxItems: 2, items: {type: string, maxLength: 30}}}}
  - name: answer
    type: parallel_local
    instances: [{role: one, prompt_template: "{idea_1}"}, {role: two, prompt_template: "{idea_2}", model_config: {temperature: 1.0}}]
    test_data: [{input: a, expected: x}, {input: b, expected: y}, {input: c, expected: x}, {input: d, expected: y}]
  - name: judge
    type: local_instructor
    output_schema: {winner: string, p_value: float, sure: boolean}
"""
    (place.root / "own.yaml").write_text(text, "utf-8")
    with model_server() as server:
        monkeypatch.setenv("PP_PROVIDER_URL", server.url)
        monkeypatch.setenv("PP_PROVIDER_MODEL", "ours")
        told = place("workflow", "run", str(place.root / "own.yaml"), "--json").json
    assert told.get("state") == "done", told
    instances = output(told, "answer")["instances"]
    assert [row["output"] in ("x", "y") for one in instances for row in one["rows"]] == [True] * 8
    judged = output(told, "judge")
    assert isinstance(judged["sure"], bool) and 0 <= judged["p_value"] <= 1 and told["totals"]["tokens_out"] > 20


def count_words(text: str, least: int = 0) -> dict[str, int]:
    """A function of the user's own."""
    return {"words": max(least, len(text.split()))}


def overlap(output: str, expected: str) -> float:
    """A scorer of the user's own."""
    return float(output[:1] == expected[:1])


def test_own_functions_and_scorers_are_called(place):
    text = f"""\
steps:
  - name: story
    type: claude
    prompt: "A story"
    output_file: story.md
  - name: answer
    type: claude_batch
    batch_config:
      test_suite: [{{input: Where is it, expected: d}}, {{input: My money, expected: z}}]
      metrics: [beginning]
      scorers: {{beginning: {__name__}:overlap}}
  - name: look
    type: gemini
    functions:
      - name: count_words
        call: {__name__}:count_words
        parameters: {{text: string, least: integer}}
        arguments: {{text: "{{story}}"}}
"""
    (place.root / "own.yaml").write_text(text, "utf-8")
    told = place("workflow", "run", str(place.root / "own.yaml"), "--json").json
    assert output(told, "look")["calls"] == [
        {"function": "count_words", "arguments": {"text": "A text of 7 characters was read."}, "result": {"words": 7}}
    ]
    call = place.provider.seen[-2]["response_format"]["json_schema"]["schema"]["properties"]["calls"]["items"]["anyOf"][0]
    assert list(call["properties"]["arguments"]["properties"]) == ["least"], "what is fixed is not asked for"
    assert output(told, "answer")["metrics"]["beginning"]["value"] == 0.5
    assert Path(told["steps"]["story"]["output_file"]).read_text("utf-8") == "A text of 7 characters was read.\n"


def test_annotation_goes_on_behind_the_batches_that_are_done(place):
    text = """\
steps:
  - name: annotate
    type: claude_session
    session_config: {task: "Add the team as the label", batch_size: 2}
    test_data: "{rows}"
    output_file: rows.jsonl
"""
    (place.root / "notes.yaml").write_text(text, "utf-8")
    (place.root / "rows.jsonl").write_text("".join(json.dumps({"input": text}) + "\n" for text in CASES[:6]), "utf-8")
    told = []

    def third_fails(asked):
        told.append([m["role"] for m in asked["messages"]])
        return "no" if len(told) > 2 and len(told) < 6 else says(asked)

    place.provider.says = third_fails
    command = ["workflow", "run", str(place.root / "notes.yaml"), "--set", "rows=rows.jsonl", "--json"]
    failed = place(*command)
    assert failed.code == 2 and "breaks its schema 3 times" in failed.json["error"]["what"]
    done = place(*command, "--resume").json  # with other seeds: what was answered before is kept, and no better for it
    assert len(told) == 6 and told[5] == ["system", "user", "assistant", "user", "assistant", "user"], "the batches before are in the talk"
    rows = [json.loads(line) for line in Path(done["steps"]["annotate"]["output_file"]).read_text("utf-8").splitlines()]
    assert [row["input"] for row in rows] == CASES[:6] and [row["label"] for row in rows][:2] == ["billing", "billing"]


def test_an_output_file_does_not_follow_a_link_out(place):
    (place.root / "out").mkdir()
    (place.root / "elsewhere").mkdir()
    (place.root / "out" / "cases.json").symlink_to(place.root / "elsewhere" / "cases.json")
    said = place("workflow", "run", flow(place.root), "--set", "topic=parcels")
    assert said.code == 2 and "leads out of workspace_dir" in said.err and not list((place.root / "elsewhere").iterdir())


def test_prompts_of_parts_and_steps_from_components(place):
    parts = place.root / "workflows"
    (parts / "rules.txt").write_text("Rules {as they are}.\n", "utf-8")
    (parts / "components" / "steps" / "reviewer.yaml").write_text(
        "component:\n  id: reviewer\n  type: step\n"
        "  step: {type: gemini, role: reviewer, prompt: 'Review {draft}', options: {max_tokens: 9}}\n"
    )
    text = """\
steps:
  - name: draft
    type: claude
    variables: {size: "{topic}, short"}
    prompt_parts:
      - {type: static, content: "Write of {size}."}
      - {type: variable, name: topic}
      - {type: file, path: rules.txt}
      - {type: component, id: hints}
  - name: more
    type: claude
    prompt_parts: [{type: static, content: Longer}, {type: previous}]
  - name: review
    type: reviewer
components/prompts/hints.yaml:
  template: "Hints for {topic}"
"""
    (parts / "parts.yaml").write_text(text, "utf-8")
    told = place("workflow", "run", "parts.yaml", "--set", "topic=parcels", "--json").json
    first, more, review = (asked["messages"] for asked in place.provider.seen)
    assert first[0]["content"] == "Write of parcels, short.\nparcels\nRules {as they are}.\nHints for parcels"
    draft = f"A text of {len(first[0]['content'])} characters was read."
    assert more[0]["content"] == f"Longer\n{draft}"
    assert [m["content"] for m in review] == ["You are the reviewer.", f"Review {draft}"] and place.provider.seen[2]["max_tokens"] == 9
    assert told["steps"]["review"]["type"] == "gemini" and told["steps"]["review"]["asked"] == 1


def test_only_answers_to_the_same_items_are_compared(place):
    rows = "[{input: My money, expected: billing}, {input: Send back, expected: returns}, {input: Where, expected: delivery}]"
    text = f"""\
steps:
  - name: both
    type: parallel_claude
    instances: [{{role: tester_1}}, {{role: tester_2}}]
    prompt: Say the team
    test_data: {rows}
  - name: other
    type: claude_batch
    batch_config: {{test_suite: [{{input: A refund, expected: billing}}]}}
  - name: verdict
    type: gemini_instructor
    output_schema: {{winner: string, p_value: float, words: string}}
"""
    (place.root / "two.yaml").write_text(text, "utf-8")
    told = place("workflow", "run", str(place.root / "two.yaml"), "--json").json
    assert output(told, "verdict") == {"winner": "none is shown", "p_value": 0.5, "words": "some words"}
