"""Fine-tuning: rows made ready, the whole way from rows to a champion, and what a trained variant has really learnt."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pp_assets import pipeline as stages
from pp_assets.pipeline import read_json
from pp_assets.pipelines import estimates
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.evaluation import TRAINED, VARIANT, evaluation_step
from pp_assets.pipelines.facts import counted, effect_figure, kind_of, listed, metric_figure, trained_variant
from pp_assets.pipelines.report import Figure, Report, Step, Table
from pp_resources.artifacts import Artifact

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

BARE = "base-"  # names of the bare base among baselines, and of heads on the frozen encoder
FROZEN = "frozen-encoder"
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
        data = _stage(step, p.seeds(name))
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
        _stage(step, p.contract(name))
        _stage(step, p.generated_data(name))
        _stage(step, p.clusters(name))
        judged = _stage(step, p.evaluated_inputs(name))
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
        choice = _stage(step, p.generation_choice(name))
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


def dataset_prep_estimate(p: "Pipeline", name: str, _options: Prepared) -> Estimate:
    """No model is asked, but the provider where one writes rows."""
    return estimates.of_runs(p, name, "fine-tuning-dataset-prep")


class Orchestrated(Options):
    variant: str | None = Field(None, description="default: the first of the task that is no ensemble")
    trials: int = Field(4, ge=1, le=1000, description="trainings of the hyper-parameter search; the first is the recipe as it is")
    minutes: float | None = Field(None, gt=0, description="no new trial after so many minutes of them")
    write: bool = Field(False, description="put what the search found into the task's file, where its corrected interval lies above 0")


def orchestration(p: "Pipeline", name: str, options: Orchestrated) -> Report:
    """Data version, search, training, evaluation, package, gate; and what will start the next one."""
    from pp_assets.training.search import Budget

    variant, report = _to_train(p, name, options), Report()
    with report.step("dataset") as step:
        for stage in (p.seeds, p.contract, p.generated_data, p.clusters, p.evaluated_inputs, p.generation_choice):
            _stage(step, stage(name))
        data = step.made[0]
        step.said = f"version {data.path.name} with {data.metadata['train']:,} training and {data.metadata['val']:,} validation rows"
    with report.step("search") as step:
        found = _stage(step, p.tuning(name, variant, Budget(options.trials, options.minutes)))
        said = found.metadata
        step.figures = [Figure(f"{said['metric']}: recipe as it is", said["default_value"], n=said["val_rows"])]
        step.figures.append(Figure(f"{said['metric']}: best trial", said["best_value"], n=said["val_rows"]))
        gain, low, high = (said[key] for key in ("corrected", "corrected_low", "corrected_high"))
        step.figures.append(Figure("gain, corrected for the choice", gain, low, high, said["val_rows"]))
        step.files["search.png"] = found.file("search.png").read_bytes()
        step.said = _searched(p, name, variant, said, options.write)
    with report.step("training") as step:
        trained = _stage(step, p.adapter(name, variant))
        step.said = f"version {trained.path.name} of {variant}, {trained.metadata.get('seconds', 0):.1f} s of training"
    with report.step("evaluation") as step:
        step.made.append(p.baselines(name))
        evaluated = evaluation_step(p, name, variant, step)
    with report.step("gate") as step:
        _stage(step, p.package(name, variant))
        gate = _stage(step, p.regression(name, variant)).metadata
        step.said = f"{gate['outcome']}: {gate['reason']}; champion: {gate['champion'] or 'none'}"
    with report.step("schedule") as step:
        step.said = " ".join(_schedule(p, name))
    verdict = str(evaluated.metadata["verdict"])
    label = "PROMOTED" if gate["promoted"] else "CANDIDATE" if gate["candidate"] else verdict
    kind = "ship" if gate["promoted"] or gate["candidate"] else "stop" if gate["outcome"] == "FAIL" else kind_of(verdict)
    return report.end(kind, label, [f"{report.steps[1].said}", *evaluated.metadata["reasons"], f"Gate: {report.steps[4].said}."])


def orchestration_estimate(p: "Pipeline", name: str, options: Orchestrated) -> Estimate:
    """The trials and one training; answers to the test rows."""
    return estimates.of_trainings(p, name, _to_train(p, name, options), options.trials + 1)


class Evaluated(Options):
    variant: str | None = Field(None, description=VARIANT)
    curve: bool = Field(False, description="train on 8, 16, 32, a quarter and half of the rows too")
    control: bool = Field(False, description="train on exchanged outputs too, which shows leaks")


def tuned_evaluation(p: "Pipeline", name: str, options: Evaluated) -> Report:
    """Gain over the baselines and the bare base, generalisation, overfitting."""
    variant, report = trained_variant(p, name, options.variant), Report()
    with report.step("gain") as step:
        evaluated = evaluation_step(p, name, variant, step)
    with report.step("base") as step:
        found = read_json(evaluated.file("eval_report.json"))["comparisons"]
        bases = {one: found[one] for one in found if one.startswith(BARE) or one == FROZEN}
        step.figures = [effect_figure(f"{variant} - {one}", told) for one, told in bases.items()]
        step.said = f"compared with {listed(list(bases))} on the same items" if bases else "no baseline of the task is its bare base"
    with report.step("generalisation") as step:
        made = _stage(step, p.overfitting(name, variant, options.curve, options.control))
        document = read_json(made.file("generalisation.json"))
        step.figures = [metric_figure(f"{document['metric']} on {split} rows", one) for split, one in document["scores"].items()]
        step.said = document["curve_reason"] or f"{document['metric']} on rows that were trained on and rows that were not"
        if document["curve"]:
            step.files["curve.png"] = made.file("plots/curve.png").read_bytes()
    with report.step("overfitting") as step:
        sides = {split: one["n"] for split, one in document["scores"].items()}
        for gap in document["gaps"]:
            n = min(sides.get(gap["of"], 0), sides.get(gap["over"], 0))
            step.figures.append(Figure(f"{gap['of']} - {gap['over']}", gap["effect"], gap["low"], gap["high"], n, reason=gap["reason"]))
        step.said = f"{document['verdict']}: {document['reason']}; leaks: {listed(document['leaks'])}"
    verdict, wrong = str(evaluated.metadata["verdict"]), document["leaks"] or document["verdict"] == "overfits"
    outcome = f"{verdict}; {document['verdict']}"
    return report.end("stop" if wrong else kind_of(verdict), outcome, [*evaluated.metadata["reasons"], f"{step.said}."])


def tuned_evaluation_estimate(p: "Pipeline", name: str, options: Evaluated) -> Estimate:
    """Answers to rows that were not asked yet; with a curve five trainings, with a control one."""
    from pp_assets.generalisations import samples
    from pp_assets.pipelines.contenders import kept_answers

    variant = trained_variant(p, name, options.variant)
    rows = samples(p.training_rows(name), p.task(name).spec.seed)
    texts = [row.input_text for some in rows.values() for row in some]
    parts = [estimates.of_answers(one, texts) for one in kept_answers(p, name, variant)]
    more = (5 if options.curve else 0) + (1 if options.control else 0)
    return estimates.together([*parts, *([estimates.of_trainings(p, name, variant, more)] if more else [])])


ENTRIES = (
    Entry(
        "fine-tuning-dataset-prep",
        "Make rows ready to be learnt from: collected, cleaned, labels doubted, augmented, balanced, checked for leaks",
        "high",
        ("the task's data, or a source of rows",),
        ("collect", "clean", "annotate", "augment", "balance", "validate"),
        Prepared,
        dataset_prep_estimate,
        dataset_prep,
    ),
    Entry(
        "fine-tuning-orchestration",
        "Go from rows to a champion: data version, hyper-parameter search, training, evaluation, package, promotion gate, schedule",
        "high",
        ("the task's data",),
        ("dataset", "search", "training", "evaluation", "gate", "schedule"),
        Orchestrated,
        orchestration_estimate,
        orchestration,
        trains=True,
    ),
    Entry(
        "fine-tuning-evaluation",
        "Say what a trained variant has learnt: gain, comparison with the bare base, generalisation, overfitting, leaks",
        "medium",
        (TRAINED,),
        ("gain", "base", "generalisation", "overfitting"),
        Evaluated,
        tuned_evaluation_estimate,
        tuned_evaluation,
        trains=True,
    ),
)


def _stage(step: Step, made: Artifact) -> Artifact:
    step.made.append(made)
    return made


def _to_train(p: "Pipeline", name: str, options: Orchestrated) -> str:
    from pp_assets.training.recipes import RECIPES, get_recipe

    variants = p.task(name).spec.variants
    chosen = options.variant or next((v for v in variants if v in RECIPES and RECIPES[v].family != "ensemble"), variants[0])
    return get_recipe(chosen, "variant").name


def _searched(p: "Pipeline", name: str, variant: str, said: Mapping[str, Any], write: bool) -> str:
    """What the search gained, and where that went."""
    from pp_assets.task.spec_edit import params_line, write_params
    from pp_assets.tuning import outside

    if not said["params"]:
        return f"none of {said['trials']} trials did better than the recipe as it is"
    task = p.task(name)
    params = {**outside(task, variant), **said["params"]}
    shown = f"best of {said['trials']} trials: {params_line(variant, params)}"
    if said["corrected_low"] is None or said["corrected_low"] <= 0:
        return f"{shown}; not shown to be better, so the training takes the task's settings"
    if not write:
        return f"{shown}; the training takes the task's settings: write=true puts these there"
    write_params(task, variant, params)
    return f"{shown}; written into {task.file}"


def _schedule(p: "Pipeline", name: str) -> list[str]:
    """What starts work on this task by itself."""
    told = ["Every night what is trained is evaluated again (schedule evaluate_nightly);"]
    policy = p.task(name).spec.flywheel
    if policy is None or not policy.enabled:
        return [*told, "no training starts by itself: 'flywheel' in task.yaml switches that on."]
    return [*told, f"the flywheel starts a training on {', '.join(policy.start)} ({policy.least_new} new demonstrations)."]


def _distributions(judged: Artifact) -> list[Table]:
    """The labels of each field among the rows that are kept; a field with as many values as rows is no label."""
    told = read_json(judged.file("stats.json"))
    tables = []
    for path, values in told["fields"].items():
        if len(values) <= MOST_CLASSES:
            rows = tuple((label, str(one["n"]), f"{one['share']:.1%}") for label, one in values.items())
            tables.append(Table(path, ("label", "rows", "share"), rows))
    return tables
