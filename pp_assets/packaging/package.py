"""Fills a package folder: all that is needed to use a model, to judge it and to check what is said of it. Equal inputs give equal bytes."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pp_assets.evaluation.predictions import SUFFIX, read_predictions
from pp_assets.packaging.card import LICENCE_FILES, CardFacts, base_license, model_card
from pp_assets.packaging.deploy import PromptText, write_deploy
from pp_assets.packaging.golden import choose, golden_lines
from pp_assets.packaging.layout import (
    ADAPTER,
    CARD,
    DATA_CARD,
    DEPLOY,
    GOLDEN,
    LOCK,
    METRICS,
    PACKAGE_VERSION,
    PREDICTIONS,
    REPORT,
    SPEC,
    SPLITS,
    SUMS,
    TOKENIZER,
    TRAINING,
    read_object,
    unsafe,
    write_json,
)
from pp_assets.packaging.lock import OURS, installed, lock_text
from pp_assets.task.spec import Task
from pp_assets.training.predictors import bases_of
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import file_sha256
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.ensemble.predictor import COMBINER, MEMBERS

REPORTS = (REPORT, "eval_report.md", "eval_report.html")


def build_package(
    task: Task, variant: str, adapter: Artifact, evaluation: Artifact, dataset: Artifact, out: Path, data_card: Path | None = None
) -> dict[str, Any]:
    """Fill the empty folder `out` from three artifacts; returns the manifest's metadata. The store writes manifest.json last. `data_card`
    tells of the generated rows where some were trained on.

    Raises UserError when the report is of another variant, or when the base model has changed since the training.
    """
    spec, training, report = task.spec, read_object(adapter.file(TRAINING)), read_object(evaluation.file(REPORT))
    if not variant == training["variant"] == report["candidate"]:
        said = f"adapter of {training['variant']!r}, report of {report['candidate']!r}"
        raise UserError(
            f"not the parts of one variant: {said}", where=f"{task.name}/{variant}", how=f"run 'pp eval {task.name} --variant {variant}'"
        )
    for model_id, sha256 in bases_of(training).items():
        if weights_sha256(find_base(model_id)) != sha256:
            how = f"run 'pp train {task.name} --variant {variant}'"
            raise UserError("the base model has changed since the training", where=str(find_base(model_id)), how=how)
    base = find_base(training["base_model_id"])
    _copy(adapter, evaluation, dataset, out)
    if data_card:
        shutil.copyfile(data_card, out / DATA_CARD)
    write_json(out / SPEC, spec.model_dump(mode="json", exclude={"serving", "flywheel"}))  # somebody's own addresses are no part of a model

    rows = choose(read_predictions(out / PREDICTIONS / f"{variant}{SUFFIX}"), spec.output_schema)
    prompt = PromptText.of(spec, training, out / TOKENIZER, base) if training["family"] == "causal" else None
    prompts = {row.item_id: prompt.text(row.input_text) for row in rows} if prompt else {}
    (out / GOLDEN).write_text(golden_lines(rows, prompts), "utf-8")

    settings = out / ADAPTER / "adapter_config.json"
    sample = rows[0].input_text if rows else ""
    adapter_config = read_object(settings) if settings.exists() else {}
    runtimes = write_deploy(out / DEPLOY, spec, training, adapter_config, read_object(base / "config.json"), prompt, sample)
    licence = _copy_licence(base, out)
    facts = CardFacts(spec, report, training, read_object(out / SPLITS), licence, runtimes, data_card is not None)
    (out / CARD).write_text(model_card(facts), "utf-8")
    digests = {f"{name}_digest": made.digest for name, made in (("dataset", dataset), ("adapter", adapter), ("evaluation", evaluation))}
    (out / LOCK).write_text(lock_text(task.name, variant, training, {"task_spec_digest": task.digest, **digests}), "utf-8")
    problems = unsafe(out)
    if problems:
        raise UserError(problems[0], where=str(adapter.path), how="a package holds safetensors and settings only: train again")
    _write_sums(out)
    return _metadata(task, training, report, licence, runtimes)


def _metadata(
    task: Task, training: Mapping[str, Any], report: Mapping[str, Any], licence: str, runtimes: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "package_version": PACKAGE_VERSION,
        "written_by": installed().get(OURS, "unknown"),
        "task": task.name,
        "variant": training["variant"],
        "family": training["family"],
        "verdict": report["verdict"]["label"],
        "task_digest": task.digest,
        "base_model_id": training["base_model_id"],
        "base_weights_sha256": training["base_weights_sha256"],
        "base_license": licence,
        "runtimes": [row["runtime"] for row in runtimes if row["ok"]],
    }


def _copy(adapter: Artifact, evaluation: Artifact, dataset: Artifact, out: Path) -> None:
    # copyfile, not copy: modes of the store's files are its own affair.
    together = adapter.file(COMBINER).exists()
    loaded = ((adapter, MEMBERS),) if together else ((adapter, ADAPTER), (adapter, TOKENIZER))
    for source, name in (*loaded, (evaluation, PREDICTIONS)):
        shutil.copytree(source.file(name), out / name, copy_function=shutil.copyfile)
    trained = (TRAINING, METRICS, COMBINER) if together else (TRAINING, METRICS)
    for source, names in ((adapter, trained), (evaluation, REPORTS), (dataset, (SPLITS,))):
        for name in names:
            shutil.copyfile(source.file(name), out / name)


def _copy_licence(base: Path, out: Path) -> str:
    """LICENSE.base from the base folder, where it has one; returns the licence id that the base's card states."""
    texts = [(base / name).read_text("utf-8", errors="replace") for name in LICENCE_FILES if (base / name).is_file()]
    if texts:
        (out / "LICENSE.base").write_text("\n".join(texts), "utf-8")
    return base_license(base)


def _write_sums(out: Path) -> None:
    """SHA256SUMS of all files but itself and the manifest, which comes later and lists this file."""
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    (out / SUMS).write_text("".join(f"{file_sha256(out / name)}  {name}\n" for name in names if name != SUMS), "utf-8")
