"""The stages that answer test items and what is made of their answers: baselines, report, package, leaderboard.
The test split is opened here and nowhere else.

Each function is one stage of `pp_assets.pipeline.Pipeline`. Heavy modules are imported when a stage has something to compute.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.packaging.layout import DATA_CARD
from pp_assets.pipeline import answering_spec, base_digest, rows_digest, scoring_spec, training_spec
from pp_assets.result_facts import (
    field_row,
    libraries,
    metric_numbers,
    package_tags,
    provenance,
    report_numbers,
    slice_row,
    verdict_numbers,
    version_tags,
)
from pp_assets.sources import source_digest
from pp_assets.task.prompt import prompt_words
from pp_assets.training.overrides import recipe_of
from pp_assets.training.recipes import RECIPES, get_recipe
from pp_assets.validation import measured
from pp_resources.artifacts import Artifact
from pp_resources.device import device_kind
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest, file_sha256

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.examples import Example

BASELINE_MODULES = (
    "pp_assets.evaluation.baselines",
    "pp_assets.evaluation.predictions",
    "pp_assets.base_systems",
    "pp_resources.models.embedder",
)
BARE_MODULES = ("pp_resources.models.causal", "pp_assets.task.causal_prompt")
REPORT_MODULES = ("pp_assets.evaluation.report", "pp_assets.evaluation.html", "pp_assets.training.predictors")


def baselines(p: "Pipeline", name: str) -> Artifact:
    """predictions/: majority, TF-IDF, sentence embeddings, nearest neighbours; with an encoder variant heads on the frozen encoder;
    with a causal one the bare base, zero-shot and few-shot. Depends on what answers and not on what scores, but for the frozen heads,
    whose epoch is chosen by the primary metric."""
    task, dataset, rows = p.task(name), p.current(stages.DATASETS, name), p.training_rows(name)
    families = sorted({RECIPES[v].family for v in task.spec.variants if v in RECIPES} - {"ensemble"})
    inputs = {"dataset": dataset.digest, "train": rows_digest(rows.train), "spec": answering_spec(task.spec)}
    inputs |= {"encoder": base_digest(task.spec.encoder_model_id), "code": source_digest(*BASELINE_MODULES), "libraries": libraries()}
    inputs["device"] = device_kind(p.settings.device)
    if task.spec.extra_baselines:
        inputs["extra"] = digest(sorted(task.spec.extra_baselines))
    if "encoder" in families:
        frozen = digest([asdict(recipe_of(task, "encoder-frozen").params), training_spec(task, "encoder")])
        inputs |= {"val": rows_digest(rows.val), "frozen": frozen}
    if "causal" in families:
        inputs["base"] = base_digest(task.spec.base_model_id)

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.base_systems import answer_all
        from pp_assets.evaluation.predictions import write_systems
        from pp_assets.kept import KeptPredictor

        asked = Counter[str]()
        systems = answer_all(
            task,
            rows.train,
            rows.val,
            _test(p, dataset, name, "baselines"),
            embed=p.embedder(task.spec.encoder_model_id).embed,
            families=families,
            threads=p.settings.threads,
            device=p.settings.device,
            keep=lambda model: KeptPredictor(p.settings.home / "cells.db", model, bare_code(), asked=asked),
        )
        write_systems(out / "predictions", systems)
        return {"systems": len(systems), "asked": asked.total()}

    return p.store.produce(stages.BASELINES, name, inputs, build)


def bare_code() -> str:
    """Version of the code and the libraries by which the bare base answers."""
    return f"{source_digest(*BARE_MODULES)} {libraries()}"


def baseline_ranks(p: "Pipeline", name: str, base: Artifact) -> dict[str, Any]:
    """The best of the baselines and a table of all, by the primary metric of today, which their answers do not depend on."""
    from pp_assets.evaluation.leaderboard import ranked, score_all
    from pp_assets.evaluation.metrics import table_metric
    from pp_assets.evaluation.predictions import read_systems

    systems = {system["name"]: system for system in read_systems(base.file("predictions"))}
    scored = score_all(p.task(name), list(systems.values()))
    metric = next(iter(scored.values())).scoring.primary
    found = {system: asdict(table_metric(scored[system], scored[system].tables[metric])) for system in ranked(scored)}
    table = [{"baseline": one, **metric_numbers(value), "what": systems[one]["description"]} for one, value in found.items()]
    return {"best": table[0]["baseline"], "best_value": table[0]["value"], "metric": metric, "table": table}


def eval_report(p: "Pipeline", name: str, variant: str) -> Artifact:
    """predictions/ of the candidate and of every baseline, eval_report.json, .md, .html."""
    task, dataset = p.task(name), p.current(stages.DATASETS, name)
    base, trained = p.current(stages.BASELINES, name), p.current(stages.ADAPTERS, f"{name}/{variant}")
    _check_same_data(p, name, variant, dataset, base, trained)
    inputs = {"dataset": dataset.digest, "baselines": base.digest, "adapter": trained.digest, "spec": scoring_spec(task)}
    inputs |= {"code": source_digest(*REPORT_MODULES), "libraries": libraries()}
    facts = measured(p, task.spec, trained, dataset)
    inputs |= {"measured": digest(facts)} if facts is not None else {}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.answers import answers
        from pp_assets.data.leakage import nearest_similarity
        from pp_assets.ensembles import member_systems
        from pp_assets.evaluation.predictions import System, make_rows, read_systems, write_systems
        from pp_assets.evaluation.report import build_report, write_report
        from pp_resources.json_schema import dump_output

        test = _test(p, dataset, name, f"evaluation of {variant}")
        predictions, asked = answers(p, task, trained, [e.input_text for e in test])
        rows = make_rows(test, predictions, lambda output: dump_output(task.output_schema, output))
        learnt = p.training_rows(name)
        near = nearest_similarity([r.input_text for r in rows], [e.input_text for e in (*learnt.train, *learnt.generated)], 0.0)
        rows = [replace(row, nearest=round(similarity, 4)) for row, similarity in zip(rows, near)]
        described = get_recipe(variant).description
        systems = [System(name=variant, kind="candidate", description=described, rows=rows), *member_systems(p, task, trained, test)]
        systems += read_systems(base.file("predictions"))
        write_systems(out / "predictions", systems)
        report = build_report(task.spec, systems, variant, provenance(p, task, variant, inputs), facts)
        write_report(report, out)
        with p.tracker.run(name, variant, "evaluation") as run:
            numbers = report_numbers(report)
            run.params({"test_rows": report["items"], "test_groups": report["groups"], "best_baseline": report["best_baseline"]})
            run.summary({f"test.{k}": v for k, v in numbers.items()})
            run.tags({"verdict": report["verdict"]["label"], "best_baseline": report["best_baseline"] or ""})
            run.tags({**version_tags(task, dataset, inputs["code"]), "pp.adapter_digest": trained.digest})
            run.table("fields", [field_row(f) for f in report["fields"]])
            if report["slices"]["rows"]:
                run.table("slices", [slice_row(s) for s in report["slices"]["rows"]])
            for file in sorted(out.glob("eval_report.*")):
                run.file(file, "report")
            run.file(out / "plots", "plots")
            told = {"metrics": numbers, "asked": asked, "prompt": prompt_words(task.spec), "mlflow": run.where}
            return verdict_numbers(report) | told

    return p.store.produce(stages.EVALUATIONS, f"{name}/{variant}", inputs, build)


def package(p: "Pipeline", name: str, variant: str) -> Artifact:
    """The package folder, and a version of the task's registered model in MLflow."""
    task, dataset = p.task(name), p.current(stages.DATASETS, name)
    trained, report = p.current(stages.ADAPTERS, f"{name}/{variant}"), p.current(stages.EVALUATIONS, f"{name}/{variant}")
    if report.inputs["adapter"] != trained.digest:
        raise UserError("the report is of another adapter", where=f"{name}/{variant}", how=f"run 'pp eval {name} --variant {variant}'")
    inputs = {"dataset": dataset.digest, "adapter": trained.digest, "evaluation": report.digest, "spec": task.digest}
    inputs["code"] = source_digest("pp_assets.packaging.package")
    data_card = _data_card(p, name, trained)
    inputs |= {"data_card": file_sha256(data_card)} if data_card else {}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.packaging.package import build_package

        return {**build_package(task, variant, trained, report, dataset, out, data_card), "verdict": report.metadata["verdict"]}

    made = p.store.produce(stages.PACKAGES, f"{name}/{variant}", inputs, build)
    if not made.reused:
        p.tracker.register(name, report.metadata.get("mlflow", {}), made.path, package_tags(variant, made))
        with p.tracker.run(name, variant, "package") if report.metadata.get("mlflow") else nullcontext() as run:
            if run is not None:
                run.tags({"package": str(made.path), "package_digest": made.digest})
                run.file(made.file("manifest.json"), "package")
    return made


def _data_card(p: "Pipeline", name: str, trained: Artifact) -> Path | None:
    """How the generated rows were made that an adapter learnt from, with what they were shown to be worth where that was asked; None when
    it learnt from none. Raises UserError when they have been made anew since."""
    if not trained.metadata.get("generated_rows"):
        return None
    if rows_digest(p.kept_rows(name).generated) != trained.inputs["generated"]:
        raise UserError("the adapter was trained on other generated rows", where=name, how=f"run 'pp run {name}'")
    choice, made = p.store.current(stages.CHOICES, name), p.current(stages.GENERATED, name)
    told = choice.file(DATA_CARD) if choice and choice.inputs.get("generated") == trained.inputs["generated"] else None
    return told if told and told.exists() else made.file(DATA_CARD)


def leaderboard(p: "Pipeline", name: str) -> Artifact:
    """leaderboard.json and .csv: baselines and every variant that was evaluated on the current data, ranked, with pairwise tests."""
    task, base = p.task(name), p.current(stages.BASELINES, name)
    reports = {
        key.partition("/")[2]: found
        for key in p.store.keys(stages.EVALUATIONS)
        if key.startswith(f"{name}/") and (found := p.store.current(stages.EVALUATIONS, key)) and found.inputs["baselines"] == base.digest
    }
    inputs = {"baselines": base.digest, "spec": scoring_spec(task), "code": source_digest("pp_assets.evaluation.leaderboard")}
    inputs |= {f"evaluation.{variant}": found.digest for variant, found in reports.items()}

    def build(out: Path) -> Mapping[str, Any]:
        import pandas as pd

        from pp_assets.evaluation.leaderboard import leaderboard as rank
        from pp_assets.evaluation.predictions import read_systems

        systems = read_systems(base.file("predictions"))
        for variant, found in reports.items():
            systems += [s for s in read_systems(found.file("predictions")) if s["name"] == variant]
        entries = rank(task, systems)
        (out / "leaderboard.json").write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n", "utf-8")
        verdicts = {variant: found.metadata["verdict"] for variant, found in reports.items()}
        table = [
            {
                "rank": e["rank"],
                "system": e["name"],
                "kind": e["kind"],
                **metric_numbers(e["primary"]),
                "verdict": verdicts.get(e["name"], ""),
            }
            for e in entries
        ]
        pd.DataFrame(table).to_csv(out / "leaderboard.csv", index=False)
        best = next((e for e in entries if e["kind"] == "candidate"), entries[0])
        return {
            "metric": entries[0]["metric"],
            "best": best["name"],
            "best_value": best["primary"]["value"],
            "variants": len(reports),
            "table": table,
        }

    return p.store.produce(stages.LEADERBOARDS, name, inputs, build)


def _test(p: "Pipeline", dataset: Artifact, name: str, reason: str) -> "list[Example]":
    from pp_assets.task.examples import open_test_split

    return open_test_split(dataset.path, p.ledger, name, reason)


def _check_same_data(p: "Pipeline", name: str, variant: str, dataset: Artifact, base: Artifact, trained: Artifact) -> None:
    rows = p.training_rows(name)
    if base.inputs["dataset"] != dataset.digest:
        raise UserError("the baselines are of another version of the data", where=name, how=f"run 'pp run {name}'")
    # An adapter from other splits may have seen today's test rows.
    if (trained.inputs["train"], trained.inputs["val"]) != (rows_digest(rows.train), rows_digest(rows.val)):
        raise UserError(
            "the adapter was trained on another version of the data",
            where=f"{name}/{variant}",
            how=f"run 'pp train {name} --variant {variant}'",
        )
