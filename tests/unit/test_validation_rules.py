"""The `validation_rules` of a task: read strictly, held against what was measured, told in the report."""

import json

import pytest
import yaml
from command_line import command_line
from small_task import write_task
from test_eval_predictions import answers, spec, system
from test_prompt_quality import spec as prompt_spec

from pp_assets.evaluation.report import build_report, verify_report, write_report
from pp_assets.evaluation.rules import bias_found
from pp_assets.evaluation.stats.power import mean_detectable_effect, mean_power
from pp_assets.pipeline import SUITES, Pipeline, scoring_spec
from pp_assets.task.spec import load_task, parse_spec, spec_digest
from pp_assets.task.validation_rules import holds
from pp_assets.validation import measured, quality_of
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError
from pp_resources.settings import Settings

DOCUMENT = """
validation_rules:
  prompt_quality:
    - clarity_score: "> 0.8"
    - specificity: "high"
    - token_efficiency: "optimal"
  evaluation_validity:
    - sample_size: ">= 100"
    - statistical_power: ">= 0.8"
    - bias_checks: "passed"
"""
RULES = yaml.safe_load(DOCUMENT)["validation_rules"]
PASSED = {"value": "passed", "why": "holds for name_origin"}


def report_of(rules, n=400, accuracy=0.9, prompt="good", bias=PASSED, **more):
    """A report on `n` items, of a model whose prompt and bias were measured so."""
    more = {"primary_metric": {"min_effect": 0.15}, **more}
    quality = quality_of(prompt_spec() if prompt in ("good", "") else prompt_spec(system_prompt="", instruction_template=prompt)).as_dict()
    systems = [system("base", answers(0.5, 2, n)), system("a", answers(accuracy, 1, n), "candidate")]
    return build_report(
        spec(validation_rules=rules, **more), systems, "a", None, {"prompt": quality if prompt else None, "bias": bias}
    ), systems


def outcomes(report):
    return {rule["measure"]: rule["held"] for rule in report["validation"]["rules"]}


def test_the_grammar_of_the_document_is_read_and_written_as_it_is():
    found = prompt_spec(validation_rules=RULES)
    assert found.model_dump(mode="json")["validation_rules"] == RULES
    assert parse_spec(json.loads(found.model_dump_json()), "again") == found


@pytest.mark.parametrize(
    ("rules", "where", "what"),
    [
        ({"prompt_qualty": []}, "validation_rules.prompt_qualty", "did you mean 'prompt_quality'?"),
        ({"prompt_quality": [{"clarity": "> 0.8"}]}, "prompt_quality.0.clarity", "did you mean 'clarity_score'?"),
        (
            {"prompt_quality": [{"specificity": "hgh"}]},
            "prompt_quality.0.specificity",
            "'hgh' is not one of the allowed values; did you mean 'high'?",
        ),
        (
            {"evaluation_validity": [{"sample_size": "100"}]},
            "evaluation_validity.0.sample_size",
            "not a comparison; write one of >=, >, <=, <",
        ),
        ({"evaluation_validity": [{"statistical_power": ">= 80"}]}, "evaluation_validity.0.statistical_power", "a measure of 0 to 1"),
        ({"prompt_quality": [{"clarity_score": "> 1"}]}, "prompt_quality.0.clarity_score", "a measure of 0 to 1"),
        ({"evaluation_validity": [{"sample_size": 100}]}, "evaluation_validity.0.sample_size", "valid string"),
        ({"evaluation_validity": [{"bias_checks": "pased"}]}, "evaluation_validity.0.bias_checks", "did you mean 'passed'?"),
        ({"evaluation_validity": {"sample_size": ">= 1"}}, "evaluation_validity", "valid list"),
        ({"prompt_quality": [{}]}, "prompt_quality.0", "has 0; name one of clarity_score, specificity, token_efficiency"),
        ({"prompt_quality": [{"clarity_score": "> 0.8", "specificity": "high"}]}, "prompt_quality.0", "start a line with '- ' for each"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named_with_its_field(rules, where, what):
    with pytest.raises(UserError) as error:
        prompt_spec(validation_rules=rules)
    assert where in str(error.value) and what in str(error.value), str(error.value)


def test_numbers_are_compared_and_a_better_level_holds_too():
    assert holds("clarity_score", "> 0.8", 0.81) and not holds("clarity_score", "> 0.8", 0.8) and holds("clarity_score", ">=0.8", 0.8)
    assert holds("sample_size", "<= 5", 5.0) and not holds("sample_size", "< 5", 5.0)
    assert holds("specificity", "medium", "high") and not holds("specificity", "high", "medium")
    assert holds("token_efficiency", "poor", "poor") and not holds("bias_checks", "passed", "not run")


def test_a_task_without_rules_is_what_it_was():
    """Packages from before there were rules keep the digest that they state."""
    plain = prompt_spec()
    values = plain.model_dump(mode="json", exclude={"serving", "flywheel", "validation_rules"})
    from pp_resources.fingerprint import digest

    assert spec_digest(plain) == digest(values, ordered=True) != spec_digest(prompt_spec(validation_rules=RULES))


def test_all_rules_hold_and_the_report_says_so_in_every_form(tmp_path):
    report, _ = report_of(RULES)
    assert report["verdict"]["label"] == "SHIP" and set(outcomes(report).values()) == {True} and len(outcomes(report)) == 6
    assert any(reason.startswith("Rule evaluation_validity: sample_size >= 100 holds: 400") for reason in report["verdict"]["reasons"])
    write_report(report, tmp_path)
    for name in ("eval_report.md", "eval_report.html"):
        text = (tmp_path / name).read_text("utf-8")
        assert "Validation rules" in text and "6 rules of the task were checked, 0 of them do not hold." in text


def test_a_bad_prompt_does_not_ship_and_the_page_says_what_is_wrong(tmp_path):
    report, _ = report_of(RULES, prompt="{{ schema }} {{ input_text }}")
    assert report["verdict"]["label"] == "DO NOT SHIP"
    assert outcomes(report)["clarity_score"] is False and outcomes(report)["specificity"] is False and outcomes(report)["sample_size"]
    assert (
        "Rule prompt_quality: clarity_score > 0.8 is broken: 0.75 (instruction_template: no sentence says"
        in report["verdict"]["reasons"][0]
    )
    write_report(report, tmp_path)
    assert "no sentence says what to do" in (tmp_path / "eval_report.html").read_text("utf-8")


def test_an_evaluation_that_is_too_small_is_not_enough_data():
    report, _ = report_of(RULES, n=60, accuracy=0.95)
    assert report["verdict"]["label"] == "NOT ENOUGH DATA"
    assert outcomes(report)["sample_size"] is False and outcomes(report)["statistical_power"] is False
    without, _ = report_of(None, n=60, accuracy=0.95)
    assert without["verdict"]["label"] == "SHIP" and "validation" not in without


def test_power_is_that_of_the_smallest_useful_effect_and_agrees_with_the_smallest_detectable_one():
    rule = {"evaluation_validity": [{"statistical_power": ">= 0.8"}]}
    report, _ = report_of(rule, primary_metric={})
    detectable = report["comparisons"]["base"]["detectable"]
    for effect, enough in ((detectable + 0.002, True), (detectable - 0.002, False)):
        found, _ = report_of(rule, primary_metric={"min_effect": effect})
        (power,) = found["validation"]["rules"]
        assert power["held"] is enough and power["value"] == pytest.approx(0.8, abs=0.03) and f"effect of {effect:g}" in power["why"]
    assert "for an effect of 0.05 " in report["validation"]["rules"][0]["why"], "where the task names none"
    other, _ = report_of(rule, primary_metric={"name": "field_exact_mean", "min_effect": 0.02})
    assert 0 < other["validation"]["rules"][0]["value"] <= 1


def test_power_of_a_mean_is_the_inverse_of_the_smallest_detectable_mean():
    assert mean_power(mean_detectable_effect(0.02, 0.05), 0.02, 0.05) == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize(
    ("bias", "held", "label", "says"),
    [
        (PASSED, True, "SHIP", "holds for name_origin"),
        ({"value": "failed", "why": "answers differ by nationality"}, False, "DO NOT SHIP", "answers differ by nationality"),
        ({"value": "cannot tell", "why": "too few"}, False, "NOT ENOUGH DATA", "cannot tell"),
        (None, False, "NOT ENOUGH DATA", "not run (run 'pp eval toy --variant a --suite comprehensive')"),
    ],
)
def test_bias_that_was_not_looked_for_is_a_broken_rule_that_says_how_to_look(bias, held, label, says):
    report, _ = report_of({"evaluation_validity": [{"bias_checks": "passed"}]}, bias=bias)
    assert outcomes(report)["bias_checks"] is held and report["verdict"]["label"] == label
    assert any(says in reason for reason in report["verdict"]["reasons"])


def test_without_a_suite_a_slice_that_is_left_behind_fails_the_bias_checks():
    rows = answers(0.97, 1, 600)
    spoilt = [row if '"intent": "buy"' not in row.expected else answers(0.0, 1, 600)[i] for i, row in enumerate(rows)]
    systems = [system("base", answers(0.4, 2, 600)), system("a", spoilt, "candidate")]
    report = build_report(spec(validation_rules={"evaluation_validity": [{"bias_checks": "passed"}]}), systems, "a", None, {"bias": None})
    (rule,) = report["validation"]["rules"]
    assert (
        rule["value"] == "failed"
        and "surely worse than the rest: intent = buy" in rule["why"]
        and report["verdict"]["label"] == "DO NOT SHIP"
    )


def test_the_bias_part_of_a_suite_as_one_word():
    def document(**dimensions):
        return {"bias": {"dimensions": {name: {"verdict": v, "groups": {"x": {}} if v != "few" else {}} for name, v in dimensions.items()}}}

    assert bias_found(document(a="holds", b="few")) == {"value": "passed", "why": "holds for a; too few items: b"}
    assert bias_found(document(a="holds", b="differs"))["value"] == "failed"
    assert bias_found(document(a="holds", b="cannot tell"))["value"] == "cannot tell"
    assert bias_found(document(a="few"))["value"] == "cannot tell"


def test_a_model_without_a_prompt_is_asked_nothing_of_one():
    report, _ = report_of(RULES, prompt="")
    assert set(outcomes(report)) == {"sample_size", "statistical_power", "bias_checks"} and report["verdict"]["label"] == "SHIP"
    unknown = build_report(spec(validation_rules=RULES), [system("a", answers(0.9, 1), "candidate")], "a")
    assert outcomes(unknown)["clarity_score"] is None and outcomes(unknown)["statistical_power"] is None


def test_a_report_with_rules_is_verified_and_a_changed_one_is_found():
    report, systems = report_of(RULES)
    stored = json.loads(json.dumps(report))
    asked = spec(validation_rules=RULES, primary_metric={"min_effect": 0.15})
    assert verify_report(stored, asked, systems) == []
    stored["validation"]["measured"]["prompt"]["clarity_score"] = 0.1
    assert any("validation.rules[0]" in line for line in verify_report(stored, asked, systems))


def test_what_is_measured_is_of_the_variant_and_of_its_newest_suite(tmp_path):
    folder = write_task(tmp_path / "tasks", "alpha", more=DOCUMENT)
    p = Pipeline(Settings(home=tmp_path / "pp", tasks=tmp_path / "tasks", threads=1))
    task = load_task(folder, tmp_path / "tasks")
    store = ArtifactStore(tmp_path / "pp")
    data = store.produce("datasets", "alpha", {"a": "1"}, lambda out: (out / "x").write_text("1") and None)
    encoder, causal = (
        store.produce("adapters", f"alpha/{v}", {"a": v}, lambda out, v=v: (out / "x").write_text(v) and None)
        for v in ("encoder-lora", "lora-r8")
    )
    both = store.produce(
        "adapters", "alpha/ensemble", {}, lambda out: (out / "x").write_text("e") and {"members": ["encoder-lora", "lora-r8"]}
    )
    assert measured(p, task.spec, encoder, data) == {"prompt": None, "bias": None}
    found = measured(p, task.spec, causal, data)
    assert (
        found
        and found["prompt"]["clarity_score"] == pytest.approx(0.75)
        and measured(p, task.spec, both, data)["prompt"] == found["prompt"]
    )

    def suite(verdict, inputs):
        document = {"bias": {"dimensions": {"names": {"verdict": verdict, "groups": {"x": {}}}}}}
        return store.produce(SUITES, "alpha/lora-r8", inputs, lambda out: (out / "suite.json").write_text(json.dumps(document)) and None)

    suite("differs", {"adapter": "another", "dataset": data.digest})
    assert measured(p, task.spec, causal, data)["bias"] is None, "a suite of other weights says nothing"
    suite("holds", {"adapter": causal.digest, "dataset": data.digest})
    assert measured(p, task.spec, causal, data)["bias"]["value"] == "passed"
    plain = load_task(write_task(tmp_path / "tasks", "beta"), tmp_path / "tasks")
    assert measured(p, plain.spec, causal, data) is None
    changed = DOCUMENT.replace(">= 100", ">= 10")
    assert scoring_spec(load_task(write_task(tmp_path / "tasks", "alpha", more=changed), tmp_path / "tasks")) != scoring_spec(task)


def test_task_check_shows_the_measures_and_warns_of_broken_rules(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha", more=DOCUMENT)
    pp = command_line(tmp_path, capfd)
    said = pp("task", "check", "alpha")
    assert said.code == 0, said.err
    assert "prompt: clarity 0.75, specificity medium, token efficiency" in said.out
    assert "prompt: instruction_template: no sentence says what to do" in said.out
    assert "warning:" in said.out and "Rule prompt_quality: clarity_score > 0.8 is broken: 0.75" in said.out
    found = pp("task", "check", "alpha", "--json").json
    assert found["ok"] and found["prompt"]["clarity_score"] == 0.75 and found["prompt"]["tokens"] > 0


@pytest.mark.slow
def test_a_run_says_which_rules_are_broken_and_follows_the_suite(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha", more=DOCUMENT)
    pp = command_line(tmp_path, capfd)
    said = pp("run", "alpha")
    assert said.code == 0, said.err
    assert "Rule evaluation_validity: sample_size >= 100 is broken: 24" in said.out and "bias_checks passed is broken" in said.out
    assert pp("eval", "alpha", "-v", "encoder-frozen", "--suite", "comprehensive").code == 0
    broken = pp("eval", "alpha", "-v", "encoder-frozen", "--json").json["results"][0]["rules_broken"]
    assert not any("run 'pp eval" in rule for rule in broken) and any("bias_checks" in rule or "sample_size" in rule for rule in broken)
    assert pp("package", "verify", "alpha/encoder-frozen").code == 0
