"""The stages that make what a model learns from: rows read and split, rows made from them, topics, a verdict on each; the rows in force.
They read inputs of held-out rows, to keep copies of them out, and never what a test row should answer.

Each function is one stage of `pp_assets.pipeline.Pipeline`. Heavy modules are imported when a stage has something to compute.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.data.generation.synonyms import wordnet_digest
from pp_assets.feedback.inbox import as_rows
from pp_assets.pipeline import Training, base_digest, by_id, rows_digest
from pp_assets.sources import source_digest
from pp_assets.task.contract.files import read_contract
from pp_assets.task.dataset import build_dataset, dataset_inputs
from pp_assets.task.examples import read_split
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.data.review import Decided
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task

_PROVIDER = ("PP_PROVIDER_URL", "PP_PROVIDER_MODEL", "PP_PROVIDER_BUDGET")


def seeds(p: "Pipeline", name: str) -> Artifact:
    """clean.parquet, quarantine, report: the task's data and the demonstrations from the inbox (training rows only), split."""
    task = p.task(name)
    extra = as_rows(p.inbox.demonstrations(name))
    inputs = dataset_inputs(task) | ({"feedback": digest(extra)} if extra else {})

    def build(out: Path) -> Mapping[str, Any]:
        return {**build_dataset(task, out, extra), "feedback_rows": len(extra)}

    return p.store.produce(stages.DATASETS, name, inputs, build)


def generated_data(p: "Pipeline", name: str) -> Artifact:
    """generated.parquet, generation.json, data_card.*: new rows from training rows, and what a reviewer said of earlier ones."""
    task, dataset, kept = p.task(name), p.current(stages.DATASETS, name), p.current(stages.CONTRACTS, name)
    decided = p.decisions.of(name)
    options = task.spec.generation.model_dump(mode="json", exclude={"enabled", "seeds", "confidence"})
    options |= {"near": task.spec.eval_split.near_duplicate_threshold, "seed": task.spec.seed}
    inputs = {
        "dataset": dataset.digest,
        "options": digest(options),
        "encoder": base_digest(task.spec.encoder_model_id),
        "review": decided.digest,
        "wordnet": wordnet_digest(),
        "provider": _provider_digest(),
        "code": source_digest("pp_assets.data.generation.stage", "pp_resources.models.embedder"),
        "contract": kept.digest,
        "schema": digest(task.output_schema),
    }

    return p.store.produce(stages.GENERATED, name, inputs, lambda out: generate_into(p, task, dataset, kept, out, decided))


def generate_into(p: "Pipeline", task: "Task", dataset: Artifact, kept: Artifact, out: Path, decided: "Decided") -> Mapping[str, Any]:
    """What the stage makes of a data set by a contract that is `kept`, as `task.spec.generation` says, into a folder."""
    from pp_assets.data.generation.stage import build_generated
    from pp_assets.providers import provider_from_env

    contract, embed = read_contract(kept.file("contract.json")), p.embedder(task.spec.encoder_model_id).embed
    return build_generated(task, contract, dataset.path, out, embed=embed, decided=decided, provider=provider_from_env())


def clusters(p: "Pipeline", name: str) -> Artifact:
    """embeddings.npy, the topics of training and generated inputs, map.*. Later versions keep the ids of the one that was current."""
    task, dataset, generated = p.task(name), p.current(stages.DATASETS, name), p.current(stages.GENERATED, name)
    encoder, seed, time_field = task.spec.encoder_model_id, task.spec.seed, task.spec.eval_split.time_field
    inputs = {
        "dataset": dataset.digest,
        "generated": generated.digest,
        "encoder": base_digest(encoder),
        "seed": str(seed),
        "code": source_digest("pp_assets.data.clusters.stage", "pp_resources.models.embedder"),
    } | ({"time_field": time_field} if time_field else {})
    provided = _provider_digest()
    inputs |= {"provider": provided} if provided else {}
    now = p.store.current(stages.CLUSTERS, name)
    before: Artifact | None = None
    if now and {key: value for key, value in now.inputs.items() if key != "before"} == inputs:
        inputs |= {"before": now.inputs["before"]} if "before" in now.inputs else {}
    elif now and now.file("clusters.json").exists():
        before = now
        inputs["before"] = now.digest

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.data.clusters.stage import build_clusters
        from pp_assets.providers import provider_from_env

        options: dict[str, Any] = {"embed": p.embedder(encoder).embed, "seed": seed, "time_field": time_field}
        old = before.path if before else None
        return build_clusters(dataset.path, generated.path, out, **options, before=old, provider=provider_from_env())

    return p.store.produce(stages.CLUSTERS, name, inputs, build)


def evaluated_inputs(p: "Pipeline", name: str) -> Artifact:
    """inputs.parquet: a score, a decision and a reason for each training and generated row; label_errors.jsonl, stats.*; proof that none
    of the kept ones leaks."""
    task, dataset, kept = p.task(name), p.current(stages.DATASETS, name), p.current(stages.CONTRACTS, name)
    generated, found = p.current(stages.GENERATED, name), p.current(stages.CLUSTERS, name)
    inputs = {
        "dataset": dataset.digest,
        "generated": generated.digest,
        "clusters": found.digest,
        "schema": digest(task.output_schema),
        "contract": kept.digest,
        "limits": digest(task.spec.inputs.model_dump()),
        "code": source_digest("pp_assets.data.inputs", "pp_resources.models.embedder"),
    }

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.data.inputs import build_inputs

        contract, embed = read_contract(kept.file("contract.json")), p.embedder(task.spec.encoder_model_id).embed
        return build_inputs(task, contract, dataset.path, generated.path, found.path, out, embed=embed)

    return p.store.produce(stages.INPUTS, name, inputs, build)


def read_inputs(p: "Pipeline", name: str) -> list[dict[str, Any]]:
    """The verdicts in force with the texts that they are about."""
    from pp_assets.data.rows import read_generated, read_table

    texts = {e.item_id: e.input_text for e in read_split(p.current(stages.DATASETS, name).path, "train")}
    made = read_generated(p.current(stages.GENERATED, name).file("generated.parquet"))
    texts |= {g.example.item_id: g.example.input_text for g in made}
    rows = read_table(p.current(stages.INPUTS, name).file("inputs.parquet"))
    return [{**row, "checks": json.loads(row["checks"]), "input_text": texts[row["item_id"]]} for row in rows]


def training_rows(p: "Pipeline", name: str) -> Training:
    """The kept rows, generated ones only where the task wants them. Raises UserError when the choice is of other rows."""
    rows, wanted = p.kept_rows(name), p.task(name).spec.generation.enabled
    if wanted == "auto":
        choice = p.store.require(stages.CHOICES, name, f"run 'pp run {name}'")
        if choice.inputs["generated"] != rows_digest(rows.generated):
            raise UserError("the choice is of other generated rows", where=str(choice.path), how=f"run 'pp run {name}'")
        wanted = bool(choice.metadata["use"])
    return rows if wanted else replace(rows, generated=[])


def kept_rows(p: "Pipeline", name: str) -> Training:
    """The rows that the evaluated inputs keep, as a reviewer left them."""
    from pp_assets.data.inputs import kept_ids
    from pp_assets.data.rows import read_generated

    task, dataset = p.task(name), p.current(stages.DATASETS, name)
    kept = kept_ids(p.current(stages.INPUTS, name).path)
    made = [g.example for g in read_generated(p.current(stages.GENERATED, name).file("generated.parquet"))]
    written = [e for e in read_split(dataset.path, "train") if e.item_id in kept]
    return Training(
        train=by_id(p.decisions.of(name).rows(task.output_schema, written)),
        val=by_id(read_split(dataset.path, "val")),
        generated=by_id(e for e in made if e.item_id in kept),
    )


def _provider_digest() -> str:
    """Which provider would be asked, with how many tokens: a larger budget goes on where a spent one ended."""
    named = [os.environ.get(name) for name in _PROVIDER]
    dollars = os.environ.get("PP_PROVIDER_BUDGET_USD")
    return digest([*named, dollars] if dollars else named, ordered=True) if any(named[:2]) else ""
