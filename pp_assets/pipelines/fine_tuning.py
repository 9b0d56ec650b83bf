"""Fine-tuning: the whole way from rows to a champion, and what a trained variant has really learnt."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pp_assets.pipeline import read_json
from pp_assets.pipelines import estimates, preparing
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.evaluation import TRAINED, VARIANT, evaluation_step
from pp_assets.pipelines.facts import effect_figure, kind_of, listed, metric_figure, trained_variant
from pp_assets.pipelines.report import Figure, Report, used

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

BARE = "base-"  # names of the bare base among baselines, and of heads on the frozen encoder
FROZEN = "frozen-encoder"


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
            used(step, stage(name))
        data = step.made[0]
        step.said = f"version {data.path.name} with {data.metadata['train']:,} training and {data.metadata['val']:,} validation rows"
    with report.step("search") as step:
        found = used(step, p.tuning(name, variant, Budget(options.trials, options.minutes)))
        said = found.metadata
        step.figures = [Figure(f"{said['metric']}: recipe as it is", said["default_value"], n=said["val_rows"])]
        step.figures.append(Figure(f"{said['metric']}: best trial", said["best_value"], n=said["val_rows"]))
        gain, low, high = (said[key] for key in ("corrected", "corrected_low", "corrected_high"))
        step.figures.append(Figure("gain, corrected for the choice", gain, low, high, said["val_rows"]))
        step.files["search.png"] = found.file("search.png").read_bytes()
        step.said = _searched(p, name, variant, said, options.write)
    with report.step("training") as step:
        trained = used(step, p.adapter(name, variant))
        step.said = f"version {trained.path.name} of {variant}, {trained.metadata.get('seconds', 0):.1f} s of training"
    with report.step("evaluation") as step:
        base = p.baselines(name)
        evaluated = evaluation_step(p, name, variant, step)
        step.made.insert(0, base)
        step.calls += 0 if base.reused else int(base.metadata["asked"])
    with report.step("gate") as step:
        used(step, p.package(name, variant))
        gate = used(step, p.regression(name, variant)).metadata
        step.said = f"{gate['outcome']}: {gate['reason']}; champion: {gate['champion'] or 'none'}"
    with report.step("schedule") as step:
        step.said = " ".join(_schedule(p, name))
    verdict = str(evaluated.metadata["verdict"])
    label = "PROMOTED" if gate["promoted"] else "CANDIDATE" if gate["candidate"] else verdict
    kind = "ship" if gate["promoted"] or gate["candidate"] else "stop" if gate["outcome"] == "FAIL" else kind_of(verdict)
    return report.end(kind, label, [f"Search: {report.steps[1].said}.", *evaluated.metadata["reasons"], f"Gate: {report.steps[4].said}."])


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
        asks = _new_answers(p, name, variant)
        made = used(step, p.overfitting(name, variant, options.curve, options.control))
        step.calls = 0 if made.reused else asks.calls or 0
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
    variant = trained_variant(p, name, options.variant)
    more = (5 if options.curve else 0) + (1 if options.control else 0)
    trainings = [estimates.of_trainings(p, name, variant, more)] if more else []
    return estimates.together([_new_answers(p, name, variant), *trainings])


ENTRIES = (
    preparing.ENTRY,
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


def _new_answers(p: "Pipeline", name: str, variant: str) -> Estimate:
    """What a variant was not asked yet of the rows by which generalisation is judged."""
    from pp_assets.generalisations import samples
    from pp_assets.pipelines.contenders import kept_answers

    rows = samples(p.training_rows(name), p.task(name).spec.seed)
    texts = [row.input_text for some in rows.values() for row in some]
    return estimates.together([estimates.of_answers(one, texts) for one in kept_answers(p, name, variant)])


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
