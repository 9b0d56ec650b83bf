"""Rows made ready to be learnt from: new ones of a source, or the task's own data with all that is known of it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pp_assets import pipeline as stages
from pp_assets.pipeline import read_json
from pp_assets.pipelines import estimates
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.facts import counted, listed
from pp_assets.pipelines.report import Figure, Report, Table, used
from pp_resources.artifacts import Artifact

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

MOST_CLASSES = 20  # labels of a field that is shown


class Prepared(Options):
    source: str | None = Field(None, description="a file or folder with new rows to collect; without one the task's own data is prepared")
    map: tuple[str, ...] = Field((), description="PART=COLUMN of the source, such as input_text=body")
    mask: bool = Field(False, description="mask e-mail addresses, IBANs, cards, IP addresses and phone numbers of the source")
    by: tuple[str, ...] = Field((), description="fields of output_json whose cells the source's rows are balanced by")
    cap: int | None = Field(None, ge=1, description="at most so many rows of a cell; without it rows are weighed")


def dataset_prep(p: "Pipeline", name: str, options: Prepared) -> Report:
    """New rows of a source made ready for the task's data, or the task's own data with all that is known of it."""
    report = Report()
    if options.source is not None:
        return _of_source(p, name, options, report)
    with report.step("collect") as step:
        data = used(step, p.seeds(name))
        said = data.metadata
        step.said = f"{said['read']:,} lines read, {said['quarantined']:,} put apart with reasons"
        step.figures = [Figure(f"rows in {split}", said[split], n=said[split]) for split in ("train", "val", "test")]
    with report.step("clean") as step:
        kept = ("exact_duplicates", "near_duplicate_rows", "contradictions", "groups")
        step.figures = [Figure(word.replace("_", " "), said[word]) for word in kept]
        step.said = f"{said['exact_duplicates']:,} exact duplicates removed; rows that are near to each other stay in one split"
        rows = tuple(map(str, said["warnings"]))
        step.tables += [Table("warnings", ("warning",), tuple((row,) for row in rows))] if rows else []
    with report.step("annotate") as step:
        used(step, p.contract(name))
        used(step, p.generated_data(name))
        used(step, p.clusters(name))
        judged = used(step, p.evaluated_inputs(name))
        found = judged.metadata
        suspects = sum(1 for _ in judged.file("label_errors.jsonl").open("rb")) if judged.file("label_errors.jsonl").exists() else 0
        step.said = (
            f"{counted(suspects, 'label')} may be wrong (label_errors.jsonl; 'pp review {name}' decides); rows have topics and scores"
        )
        step.figures = [Figure("suspect labels", suspects, n=said["train"])]
    with report.step("augment") as step:
        made = p.current(stages.GENERATED, name)
        step.made.append(made)
        step.said = f"{made.metadata['rows']:,} rows made from training rows passed all filters"
        choice = used(step, p.generation_choice(name))
        step.said += f"; {'they are' if choice.metadata.get('use') else 'none is'} trained on: {choice.metadata.get('reason', '')}"
    with report.step("balance") as step:
        step.said = "how often each label comes among the kept rows"
        step.tables += _distributions(judged)
    with report.step("validate") as step:
        leaks = {} if found["splits_given"] else {kind: n for kind, n in found["leaks"].items() if n}
        step.figures = [Figure(f"leaks: {kind}".replace("_", " "), n) for kind, n in found["leaks"].items()]
        dropped = listed([f"{n} {reason}" for reason, n in found["dropped_by_reason"].items()])
        step.said = f"{found['kept_written']:,} written and {found['kept_generated']:,} made rows are kept; dropped: {dropped}"
    reasons = [report.steps[-1].said, *said["warnings"], *([f"Training rows are also in held-out data: {leaks}."] if leaks else [])]
    return report.end("stop" if leaks else "ship", "rows leak" if leaks else f"{found['kept_written']:,} rows are ready", reasons)


def dataset_prep_estimate(p: "Pipeline", name: str, _options: Prepared) -> Estimate:
    """No model is asked, but the provider where one writes rows."""
    return estimates.of_runs(p, name, "fine-tuning-dataset-prep")


ENTRY = Entry(
    "fine-tuning-dataset-prep",
    "Make rows ready to be learnt from: collected, cleaned, labels doubted, augmented, balanced, checked for leaks",
    "high",
    ("the task's data, or a source of rows",),
    ("collect", "clean", "annotate", "augment", "balance", "validate"),
    Prepared,
    dataset_prep_estimate,
    dataset_prep,
)


def _of_source(p: "Pipeline", name: str, options: Prepared, report: Report) -> Report:
    """A source's rows in one file, as `pp data collect`, `clean`, `balance` and `validate` leave them. It becomes data of the task when a
    person names it there."""
    from pp_assets.data.balance import balance, validate
    from pp_assets.data.clean import clean_file
    from pp_assets.data.collect import collect
    from pp_assets.data.collect import pairs as mapping

    folder = p.settings.home / "work"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prepared-", dir=folder) as made:
        work = Path(made)
        with report.step("collect") as step:
            collected = collect(Path(options.source or ""), work / "collected.jsonl", mapping(options.map) or None)
            step.said = f"{collected.rows:,} rows of {options.source} ({collected.kind}); {sum(collected.rejected.values())} put apart"
        rows = work / "clean.jsonl"
        with report.step("clean") as step:
            cleaned = clean_file(work / "collected.jsonl", rows, mask=options.mask)
            step.said = f"{cleaned.changed:,} of {cleaned.rows:,} rows changed: {listed([f'{n} {k}' for k, n in cleaned.changes.items()])}"
        if options.by:
            with report.step("balance") as step:
                balanced = balance(rows, work / "balanced.jsonl", options.by, cap=options.cap, seed=p.task(name).spec.seed)
                rows = work / "balanced.jsonl"
                step.said = f"{balanced['kept']:,} of {balanced['rows']:,} rows in {balanced['cells']} cells"
                cells = tuple((row["cell"], str(row["before"]), str(row["after"])) for row in balanced["table"][:20])
                step.tables.append(Table("rows by cell", ("cell", "before", "after"), cells))
        with report.step("validate") as step:
            found = validate(p.task(name), rows)
            step.said = f"{found['sound']:,} sound lines, {found['rejected']:,} not"
            step.figures = [Figure("sound lines", found["sound"], n=found["sound"] + found["rejected"])]
            bad = tuple((str(one["line"]), one["reason"]) for one in found["first"])
            step.tables += [Table("lines that are not sound", ("line", "reason"), bad)] if bad else []
            step.files["rows.jsonl"] = rows.read_bytes()
    ready = f"{found['sound']:,} rows are ready"
    reasons = [f"{report.steps[-1].said}.", "validate/rows.jsonl of this report becomes data of the task when task.yaml names it."]
    return report.end("stop" if found["rejected"] else "ship", "lines are not sound" if found["rejected"] else ready, reasons)


def _distributions(judged: Artifact) -> list[Table]:
    """The labels of each field among the rows that are kept; a field with as many values as rows is no label."""
    told = read_json(judged.file("stats.json"))
    tables = []
    for path, values in told["fields"].items():
        if len(values) <= MOST_CLASSES:
            rows = tuple((label, str(one["n"]), f"{one['share']:.1%}") for label, one in values.items())
            tables.append(Table(path, ("label", "rows", "share"), rows))
    return tables
