"""`pp data stats`, `labels`, `versions`, `diff`: what is in the data, which labels look wrong, what changed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.stages import running, watching
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.settings import Settings

Named = Annotated[str, typer.Argument(metavar="DATA", help="A JSONL file, a task, or a version (the first digits of its digest).")]
SHOWN = 20


def stats(named: Named, as_json: JsonFlag = False) -> None:
    """Lengths, tokens, label shares and duplicates of a file, of a task's data or of a version of it.

    Examples:

        pp data stats support-triage

        pp data stats data.jsonl --json
    """
    from pp_assets.data.sources import find_source
    from pp_assets.data.statistics import describe, token_counter
    from pp_resources.artifacts import ArtifactStore
    from pp_resources.models.bases import find_base

    settings = Settings.from_env()
    source = find_source(named, ArtifactStore(settings.home))
    base = _base(settings, source.version.key if source.version else None)
    with watching("stats"):
        found = describe(source.rows(), token_counter(find_base(base)))
    if Output(as_json).result({"data": source.name, "tokens_of": base, **found}):
        return
    twice = found["duplicates"]
    parts = ", ".join(f"{name} {n}" for name, n in found["by_split"].items() if name != "all")
    line(f"{source.name}: {found['rows']} rows{f' ({parts})' if parts else ''}; {twice['same_input']} inputs repeated, ", end="")
    line(f"{twice['contradictions']} of them with another output")
    lengths = [
        (what, *(number(found[what][q], 0) for q in ("min", "p50", "mean", "p95", "max")))
        for what in ("chars", "words", "tokens")
        if found[what]
    ]
    table(("length", "min", "p50", "mean", "p95", "max"), lengths, right=("min", "p50", "mean", "p95", "max"))
    for field, values in found["fields"].items():
        first = [f"{value} {share['n']} ({share['share']:.1%})" for value, share in list(values.items())[:SHOWN]]
        line(f"{field}: {', '.join(first)}{f', {len(values) - SHOWN} more' if len(values) > SHOWN else ''}")


def labels(
    task: TaskArgument,
    to: Annotated[
        Path | None, typer.Option("--without-errors", help="Write the training rows that cleanlab finds nothing wrong with.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Training rows whose label few of their neighbours share, for a person to look at; nothing is changed.

    Examples:

        pp data labels support-triage

        pp data labels support-triage --without-errors confident.jsonl
    """
    import json

    from pp_assets.data.labels import FILE, LEAST_KAPPA
    from pp_assets.pipeline import INPUTS

    settings, name = settle(task)
    with running(settings) as (runner, _):
        runner.training_data(name)
        made = runner.pipeline.current(INPUTS, name)
        file = made.file(FILE)
        dropped = _without_errors(runner.pipeline, name, to) if to else None
    found = [json.loads(text) for text in file.read_text("utf-8").splitlines()]
    if Output(as_json).result(
        {"task": name, "file": str(file), "suspects": found, "kappa": made.metadata["label_kappa"], "cleanlab": dropped}
    ):
        return
    line(f"{name}: {len(found)} labels that at most few neighbours share; all of them in {file}")
    for field, kappa in made.metadata["label_kappa"].items():
        known = "" if kappa >= LEAST_KAPPA else "; too little to question its labels"
        line(f"{field}: neighbours agree with its labels with a kappa of {kappa:.2f}{known}")
    rows = [
        (f"{one['agreement']:.1f}", one["field"], str(one["given"]), str(one["suggested"]), one["input_text"][:100])
        for one in found[:SHOWN]
    ]
    table(("agreement", "field", "given", "neighbours say", "input"), rows, right=("agreement",))
    if found:
        line(f"neighbours of the first: {', '.join(found[0]['neighbours'])}")
    if dropped:
        by_field = ", ".join(f"{field} {n}" for field, n in dropped["by_field"].items())
        line(f"cleanlab: {dropped['rows'] - dropped['kept']} of {dropped['rows']} training rows left out ({by_field}); the rest in {to}")


def versions(task: TaskArgument, as_json: JsonFlag = False) -> None:
    """Every version that a task's data had, by content digest, oldest first.

    Example:

        pp data versions support-triage
    """
    from pp_assets.data.sources import DATASETS
    from pp_resources.artifacts import ArtifactStore

    settings, name = settle(task)
    store = ArtifactStore(settings.home)
    current = store.current(DATASETS, name)
    found: list[dict[str, Any]] = []
    for one in store.versions(DATASETS, name):
        counts = {key: one.metadata.get(key) for key in ("kept", "train", "val", "test", "quarantined")}
        found.append({"digest": one.digest, "made": one.created_at, **counts, "current": bool(current and current.path == one.path)})
    if Output(as_json).result({"task": name, "versions": found}):
        return
    if not found:
        line(f"{name}: no version yet; make one with: pp data build {name}")
        return
    rows = [
        (v["digest"][:12], v["made"][:19], *(str(v[key]) for key in ("kept", "train", "val", "test")), "current" if v["current"] else "")
        for v in found
    ]
    table(("version", "made", "rows", "train", "val", "test", ""), rows, right=("rows", "train", "val", "test"))


def diff(
    a: Named,
    b: Annotated[str, typer.Argument(metavar="DATA", help="What it is compared with.")],
    as_json: JsonFlag = False,
) -> None:
    """Rows added and removed, outputs changed, rows moved between splits, shares of labels that shifted, from the first to the second.

    Examples:

        pp data diff old.jsonl new.jsonl

        pp data diff 1f3a9c support-triage
    """
    from pp_assets.data.sources import find_source
    from pp_assets.data.statistics import diff as difference
    from pp_resources.artifacts import ArtifactStore

    store = ArtifactStore(Settings.from_env().home)
    with watching("diff"):
        found = difference(find_source(a, store), find_source(b, store))
    if Output(as_json).result(found):
        return
    line(
        f"{found['a']} ({found['rows']['a']} rows) -> {found['b']} ({found['rows']['b']} rows){': no difference' if found['same'] else ''}"
    )
    for key, what in (("added", "added"), ("removed", "removed"), ("changed_output", "with another output")):
        if found[key]["inputs"]:
            line(f"{found[key]['inputs']} inputs {what}")
            for text in found[key]["first"][:5]:
                line(f"  {' '.join(text.split())[:140]}")
    if found["moved_split"]["inputs"]:
        line("moved: " + ", ".join(f"{move} {n}" for move, n in found["moved_split"]["by_move"].items()))
    if found["label_shifts"]:
        rows = [(s["field"], s["value"], f"{s['a']:.1%}", f"{s['b']:.1%}", f"{s['change']:+.1%}") for s in found["label_shifts"]]
        table(("field", "value", "before", "after", "change"), rows, right=("before", "after", "change"))


def _base(settings: Settings, task: str | None) -> str:
    """The base model whose tokens are counted: that of the task, else the shipped one."""
    from pp_assets.task.spec import TaskSpec, list_tasks, load_task

    if task and task in list_tasks(settings.tasks):
        return load_task(task, settings.tasks).spec.base_model_id
    return str(TaskSpec.model_fields["base_model_id"].default)


def _without_errors(pipeline: Any, name: str, to: Path) -> dict[str, Any]:
    import json

    import numpy as np

    from pp_assets.data.labels import without_errors
    from pp_assets.pipeline import CLUSTERS, DATASETS
    from pp_assets.task.examples import read_split
    from pp_resources.artifacts import write_atomic

    rows = read_split(pipeline.current(DATASETS, name).path, "train")
    vectors = np.load(pipeline.current(CLUSTERS, name).file("embeddings.npy"), allow_pickle=False)[: len(rows)]
    kept, counts = without_errors(pipeline.task(name).output_schema, rows, vectors)
    lines = []
    for row in kept:
        value = {"input_text": row.input_text, "output_json": row.output, "meta": row.meta}
        lines.append(json.dumps(value | ({"source_id": row.source_id} if row.source_id else {}), ensure_ascii=False) + "\n")
    write_atomic(to, "".join(lines))
    return {"rows": len(rows), "kept": len(kept), "by_field": counts, "to": str(to)}
