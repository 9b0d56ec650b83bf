"""A run of a pipeline from the catalogue, kept as an artifact of kind `pipelines`: report.json, .md, .html and what its steps attached."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.evaluation.rounding import rounded
from pp_assets.pipelines.entry import Entry, Options
from pp_assets.pipelines.report import Report, Step
from pp_assets.task.examples import count_test_openings
from pp_resources.artifacts import Artifact
from pp_resources.fingerprint import digest
from pp_resources.spending import metered

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

PIPELINES = "pipelines"
PAGE, DOCUMENT = "report.html", "report.json"


def perform(p: "Pipeline", entry: Entry, name: str, options: Options) -> tuple[Artifact, Report]:
    """Run a pipeline on a task. Every run is a version of `<task>/<id>` of its own, also one that found everything ready: its numbers are
    those of artifacts, which are not computed again, and its times are observed."""
    p.task(name)
    at, began, opened = datetime.now(UTC), time.perf_counter(), count_test_openings(p.ledger, name)
    with metered() as bought:
        found = entry.run(p, name, options)
    spent: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 2), "calls": sum(step.calls for step in found.steps)}
    spent |= {"tokens": sum(step.tokens for step in found.steps), "test_openings": count_test_openings(p.ledger, name) - opened}
    spent |= {"bought": {"requests": bought.requests, "tokens_in": bought.tokens_in, "tokens_out": bought.tokens_out}}
    told = document(entry, name, options, found) | {"at": at.isoformat(timespec="seconds"), "spent": spent}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.pipelines.pages import report_html, report_markdown

        for step in found.steps:
            for file, data in step.files.items():
                (out / step.name).mkdir(exist_ok=True)
                (out / step.name / file).write_bytes(data)
        (out / DOCUMENT).write_text(json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        (out / "report.md").write_text(report_markdown(told), "utf-8", errors="backslashreplace")
        pictures = {f"{step.name}/{file}": data for step in found.steps for file, data in step.files.items() if file.endswith(".png")}
        (out / PAGE).write_text(report_html(told, pictures), "utf-8", errors="backslashreplace")
        return {**{key: told[key] for key in ("at", "kind", "outcome", "reasons", "options")}, **spent}

    inputs = {"pipeline": entry.id, "report": digest(told)}
    return p.store.produce(PIPELINES, f"{name}/{entry.id}", inputs, build), found


def document(entry: Entry, name: str, options: Options, found: Report) -> dict[str, Any]:
    """The report as plain values."""
    asked = {"pipeline": entry.id, "purpose": entry.purpose, "task": name, "options": options.model_dump(mode="json")}
    told = {"kind": found.kind, "outcome": found.outcome, "reasons": list(found.reasons)}
    return dict(rounded({**asked, **told, "steps": [_step(step) for step in found.steps]}))


def last_run(p: "Pipeline", name: str, pipeline: str) -> Artifact | None:
    """The newest run of a pipeline on a task."""
    return p.store.current(PIPELINES, f"{name}/{pipeline}")


def _step(step: Step) -> dict[str, Any]:
    kept = {"name": step.name, "said": step.said, "seconds": step.seconds, "calls": step.calls, "tokens": step.tokens}
    kept["figures"] = [asdict(figure) for figure in step.figures]
    kept["tables"] = [asdict(table) for table in step.tables]
    kept["artifacts"] = [
        {"kind": one.kind, "key": one.key, "digest": one.digest, "path": str(one.path), "reused": one.reused} for one in step.made
    ]
    return kept | {"files": [f"{step.name}/{file}" for file in step.files], "details": step.details}
