"""The stage that tries an evaluated adapter in every way: robustness, consistency, bias, the field's metrics, confidences."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.pipeline import base_digest, read_json, scoring_spec
from pp_assets.result_facts import libraries, provenance, version_tags
from pp_assets.sources import source_digest
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.answers import Answers
    from pp_assets.evaluation.suite.asking import Subject
    from pp_assets.evaluation.suite.cases import Case
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task
    from pp_resources.models.causal_prompt import Prompt

MODULES = ("pp_assets.evaluation.suite.build", "pp_assets.evaluation.suite.page", "pp_assets.training.predictors")


def suite(p: "Pipeline", name: str, variant: str) -> Artifact:
    """suite.json, .md, .html, cases.jsonl.gz (every edited input with its answer), provenance.json, plots/."""
    from pp_assets.evaluation.suite.lists import lists_digest

    task, dataset, key = p.task(name), p.current(stages.DATASETS, name), f"{name}/{variant}"
    trained, report = p.current(stages.ADAPTERS, key), p.current(stages.EVALUATIONS, key)
    if (report.inputs["adapter"], report.inputs["dataset"]) != (trained.digest, dataset.digest):
        raise UserError("the report is of another adapter or other data", where=key, how=f"run 'pp eval {name} --variant {variant}'")
    earlier = [r for r in p.store.versions(stages.EVALUATIONS, key) if r.inputs["adapter"] == trained.digest]
    inputs = {"dataset": dataset.digest, "adapter": trained.digest, "evaluation": report.digest, "spec": scoring_spec(task)}
    inputs |= {"earlier": digest([r.digest for r in earlier]), "encoder": base_digest(task.spec.encoder_model_id)}
    inputs |= {"code": source_digest(*MODULES), "lists": lists_digest(), "libraries": libraries(), "metrics": _metric_libraries()}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.answers import Answers
        from pp_assets.evaluation.suite.build import build_suite
        from pp_assets.evaluation.suite.page import write_suite
        from pp_assets.task.examples import open_test_split, read_split
        from pp_resources.models.bases import find_base

        test = open_test_split(dataset.path, p.ledger, name, f"comprehensive suite of {variant}")
        seen = {split: read_split(dataset.path, split) for split in ("train", "val")}
        asking = Answers(p, task)
        subject = _subject(asking, variant, trained, earlier)
        made = build_suite(task.spec, test, seen, subject, encoder=find_base(task.spec.encoder_model_id))
        write_suite(made.document, out, read_json(report.file("eval_report.json")))
        write_cases(out / "cases.jsonl.gz", made.cases)
        facts = provenance(p, task, variant, inputs)
        (out / "provenance.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        verdicts = made.document["verdicts"]
        calls = {**made.document["model_calls"], "asked": asking.asked.total()}
        with p.tracker.run(name, variant, "suite") as run:
            run.tags({**version_tags(task, dataset, inputs["code"]), "pp.adapter_digest": trained.digest})
            run.params({"edited_items": made.document["edited_items"], **calls})
            run.summary({f"suite.{k}": v for k, v in suite_numbers(made.document).items()})
            run.tags({f"suite.{v['section']}.{v['name']}": v["verdict"] for v in verdicts})
            run.table("suite_verdicts", verdicts)
            for file in sorted(out.glob("suite.*")):
                run.file(file, "suite")
            run.file(out / "plots", "suite/plots")
            return {"verdicts": verdicts, **calls, "mlflow": run.where}

    return p.store.produce(stages.SUITES, key, inputs, build)


def suite_numbers(document: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that are followed over time: the effect and flips of each family, flips of each pair of groups, calibration."""
    found: dict[str, float | None] = {}
    for name, family in document["robustness"]["families"].items():
        if family["expects"] == "same":
            found |= {f"robustness.{name}.effect": family["effect"], f"robustness.{name}.flips": family["flips"]}
    for name, variant in document["consistency"]["wording"]["variants"].items():
        found[f"consistency.{name}.flips"] = variant["flips"]
    for name, dimension in document["bias"]["dimensions"].items():
        found |= {f"bias.{name}.{group}.flips": pair["flips"] for group, pair in dimension["groups"].items()}
    for entry in document["calibration"][:1]:
        found |= {"ece": entry["ece"]["value"], "aurc": entry["aurc"]["value"]}
    return {name: value for name, value in found.items() if value is not None}


def write_cases(path: Path, cases: "Sequence[tuple[Case, str]]") -> None:
    """JSON lines, gzip without a time stamp, so that equal cases are equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as out:
        for case, output in cases:
            row = {"item_id": case.item_id, "family": case.family, "operator": case.operator, "severity": case.severity}
            row |= {"input_text": case.text, "expected": case.expected, "output": output}
            out.write(json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n")


def _subject(asking: "Answers", variant: str, trained: Artifact, earlier: Sequence[Artifact]) -> "Subject":
    """The adapter, the same behind reworded templates where it reads one, and what evaluations of these weights stored. Answers are cells:
    a killed suite goes on, and one with other statistics asks nothing."""
    from pp_assets.evaluation.predictions import SUFFIX, read_predictions
    from pp_assets.evaluation.suite.asking import Subject

    before = {
        f"evaluation {report.path.name}": {
            row.item_id: row.output for row in read_predictions(report.file("predictions") / f"{variant}{SUFFIX}")
        }
        for report in earlier
    }
    prompts, reason = _prompts(asking.task, trained)
    rewordings = {name: asking.of(trained, behind=prompt) for name, prompt in prompts.items()}
    return Subject(variant, asking.of(trained), rewordings, reason, before, lambda trial: asking.of(trained, trial=trial))


def _prompts(task: "Task", trained: Artifact) -> "tuple[dict[str, Prompt], str]":
    """(the task's prompt in other words, by name; why there is none, where the adapter reads one)."""
    from pp_assets.evaluation.suite.wording import reworded
    from pp_assets.task.causal_prompt import prompt_of
    from pp_resources.models.causal import ONE_PROMPT, invocation_ids

    if read_json(trained.file("training.json"))["family"] != "causal":
        return {}, ""
    if invocation_ids(trained.file("adapter")):
        return {}, ONE_PROMPT
    prompts = {name: prompt_of(spec) for name, spec in reworded(task.spec).items()}
    return prompts, "" if prompts else "no rewording of this template is sound"


def _metric_libraries() -> str:
    from importlib.metadata import version

    return digest({name: version(name) for name in ("sacrebleu", "rouge-score", "fairlearn", "scipy")})
