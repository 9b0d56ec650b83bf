"""Model evaluation: everything that a trained variant is tried with, what it costs, and whether it has become worse."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pp_assets import pipeline as stages
from pp_assets.pipeline import read_json
from pp_assets.pipelines import estimates
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.facts import counted, evaluation_figures, kind_of, listed, metric_figure, trained_variant
from pp_assets.pipelines.report import Figure, Report, Step, Table

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

VARIANT = "of the task; default: the champion, else its first trained variant"
TRAINED = "a trained variant ('pp run TASK')"
WRONG = ("degrades", "differs")  # verdicts of a suite


class Comprehensive(Options):
    variant: str | None = Field(None, description=VARIANT)


def comprehensive(p: "Pipeline", name: str, options: Comprehensive) -> Report:
    """The evaluation and the suite of the current adapter, section by section."""
    variant, report = trained_variant(p, name, options.variant), Report()
    with report.step("accuracy") as step:
        evaluated = evaluation_step(p, name, variant, step)
    with report.step("suite") as step:
        made = p.suite(name, variant)
        step.made.append(made)
        step.calls = 0 if made.reused else int(made.metadata["asked"])
        found = read_json(made.file("suite.json"))
        step.said = f"{found['edited_items']:,} edited items of {found['test_items']:,} test items, {len(found['verdicts'])} verdicts"
    for section in ("robustness", "consistency", "bias"):
        with report.step(section) as step:
            lines = [line for line in found["verdicts"] if line["section"] == section]
            wrong = [line["name"] for line in lines if line["verdict"] in WRONG]
            open_ = sum(line["verdict"] == "cannot tell" for line in lines)
            step.said = f"{len(lines) - len(wrong) - open_} hold, {len(wrong)} do not ({listed(wrong)}), {open_} cannot be told"
            step.figures = _suite_figures(found, section)
            rows = tuple((line["name"], line["verdict"], line["text"]) for line in lines)
            step.tables.append(Table(section, ("what", "verdict", "numbers"), rows))
    wrong = [f"{line['section']}: {line['name']}" for line in found["verdicts"] if line["verdict"] in WRONG]
    verdict = str(evaluated.metadata["verdict"])
    outcome = f"{verdict}; {counted(len(wrong), 'weakness', 'weaknesses')}"
    kind = "stop" if wrong and kind_of(verdict) != "stop" else kind_of(verdict)
    return report.end(kind, outcome, [*evaluated.metadata["reasons"], *(f"Does not hold: {one}." for one in wrong)])


def comprehensive_estimate(p: "Pipeline", name: str, _options: Comprehensive) -> Estimate:
    """Suites of the task's variants ask about as much as each other."""
    told = estimates.of_runs(p, name, "model-evaluation-comprehensive")
    if told.calls is not None:
        return told
    keys = [key for key in p.store.keys(stages.SUITES) if key.startswith(f"{name}/")]
    asked = [int(made.metadata["texts_answered"]) for key in keys if (made := p.store.current(stages.SUITES, key))]
    if not asked:
        return told
    return Estimate(max(asked), basis=(f"at most as many answers as the suite of {keys[0]} took; kept ones cost nothing",))


def evaluation_step(p: "Pipeline", name: str, variant: str, step: Step) -> Any:
    """The evaluation of the adapter that is there, made where it is missing; told in a step."""
    made = p.eval_report(name, variant)
    step.made.append(made)
    step.calls = 0 if made.reused else int(made.metadata.get("asked", 0))
    step.said = f"{made.metadata['verdict']}: {made.metadata['reasons'][0]}"
    step.figures = evaluation_figures(made.metadata)
    return made


class Benchmark(Options):
    variants: tuple[str, ...] = Field((), description="trained variants; default: all of the task, the first is what others are held to")
    items: int = Field(64, ge=2, description="validation rows to ask")
    batch: int = Field(32, ge=1, description="texts of a batch")
    repeats: int = Field(4, ge=1, description="runs over all texts in batches")
    hourly: float | None = Field(None, ge=0, description="US dollars that an hour of this machine costs")
    price_in: float | None = Field(None, ge=0, description="US dollars that a provider takes for a million tokens read")
    price_out: float | None = Field(None, ge=0, description="the same for tokens written")
    memory: bool = Field(True, description="measure peak memory, in a process for each variant")


def benchmarked(p: "Pipeline", name: str, options: Benchmark) -> Report:
    """Speed, tokens, cost and quality of trained variants in turn on this machine."""
    from pp_assets.benchmarks import Options as Measured
    from pp_assets.benchmarks import benchmark
    from pp_resources.models.price import both

    price = both(options.price_in, options.price_out, "price_in, price_out")
    report = Report()
    with report.step("speed") as step:
        wanted = Measured(options.items, options.batch, options.repeats, options.hourly, price, options.memory)
        found = benchmark(p, name, options.variants, wanted)
        variants, n = found["variants"], found["items"]
        # Each text alone twice, and all of them in batches; measured answers are never taken from kept ones.
        step.calls = len(variants) * n * (2 + options.repeats)
        for one, told in variants.items():
            step.figures += [metric_figure(f"{one}: {q}, alone", told["latency_ms"][q], unit="ms") for q in ("p50", "p95")]
            step.figures.append(Figure(f"{one}: in batches of {found['batch']}", told["items_per_s"]["batched"], n=n, unit="answers/s"))
            step.figures.append(metric_figure(f"{one}: times as slow as {found['reference']}", told["ratio"] | {"n": n}))
        fastest = min(variants, key=lambda one: variants[one]["latency_ms"]["p50"]["value"])
        step.said = f"{fastest} answers fastest, half of its answers within {variants[fastest]['latency_ms']['p50']['value']:.3g} ms"
        step.details = found
    with report.step("tokens") as step:
        for one, told in variants.items():
            step.figures += [metric_figure(f"{one}: tokens {side} a text", told["tokens"][side]) for side in ("in", "out")]
            step.figures.append(Figure(f"{one}: peak memory", told["memory"]["rss_mb"], unit="MB", reason=told["memory"]["reason"]))
        step.said = "tokens as each model counts them"
    with report.step("cost") as step:
        for one, told in variants.items():
            for way, cost in told["cost"].items():
                label = f"{one}: 1,000 answers, by {'the hour' if way == 'machine' else 'tokens'}"
                step.figures.append(metric_figure(label, cost | {"value": cost["usd_per_1000"]}, unit="US$"))
        step.said = "unpriced is said, and not 0"
    with report.step("quality") as step:
        for one, told in variants.items():
            step.figures.append(metric_figure(f"{one}: {told['quality'].get('metric', 'quality')}", told["quality"]))
        step.said = "by the evaluation of these very weights on the test items"
    place = found["hardware"]
    busy = place["load"] > place["cores"]
    reasons = [report.steps[0].said[0].upper() + report.steps[0].said[1:] + "."]
    reasons += [f"The machine was busy (load {place['load']:.1f}): times are long, ratios still fair."] if busy else []
    return report.end("wait", f"{counted(len(variants), 'variant')} measured on {counted(n, 'text')}", reasons)


def benchmark_estimate(p: "Pipeline", name: str, options: Benchmark) -> Estimate:
    """Texts are asked anew, since they are timed."""
    keys = [key for key in p.store.keys(stages.ADAPTERS) if key.startswith(f"{name}/")]
    count = len(options.variants) or len(keys)
    told = estimates.of_runs(p, name, "model-evaluation-benchmark")
    calls = count * options.items * (2 + options.repeats)
    return Estimate(calls, told.tokens, told.seconds, (f"{counted(count, 'variant')}, each text {2 + options.repeats} times", *told.basis))


class Regression(Options):
    variant: str | None = Field(None, description=VARIANT)
    margin: float = Field(0.02, gt=0, description="loss of the primary metric against the champion that is borne, in the history")


def regression(p: "Pipeline", name: str, options: Regression) -> Report:
    """The test of the newest adapter against the champion, and all packages over time."""
    from pp_assets.champion import read_champion
    from pp_assets.evaluation.trend import trend_plot
    from pp_assets.history import history

    variant, report = trained_variant(p, name, options.variant), Report()
    with report.step("test") as step:
        before = read_champion(p.settings.home, name)
        made = p.regression(name, variant)
        step.made.append(made)
        told = made.metadata
        step.said = f"{told['outcome']}: {told['reason']}" + ("; it is the champion now" if told["promoted"] else "")
        check = read_json(made.file("regression.json")).get("check")
        if check:
            found = check["comparison"]
            step.figures = [metric_figure(f"{side}: {check['metric']}", check[side]) for side in ("challenger", "champion")]
            step.figures.append(Figure("challenger - champion", found["effect"], found["low"], found["high"], found["n"]))
        step.details = {"champion_before": before.variant if before else None}
    with report.step("history") as step:
        over_time = history(p, name, (), read_champion(p.settings.home, name), options.margin)
        points = over_time["points"]
        step.said = f"{counted(len(points), 'package')}, {over_time['looks']} tested against the champion"
        step.figures = [metric_figure(f"{one['at'][:10]} {one['variant']}", one) for one in points[-8:]]
        if any(one["value"] is not None for one in points):
            step.files["trend.png"] = trend_plot(over_time)
        step.files["history.json"] = json.dumps(over_time, indent=1).encode()
    with report.step("alerts") as step:
        alerts: Sequence[str] = over_time["alerts"]
        step.said = listed(alerts)
    outcome = str(told["outcome"])
    kind = "stop" if alerts else "ship" if told["promoted"] else kind_of(outcome)
    return report.end(kind, outcome, [f"{variant}: {told['reason']}.", *(f"Worse: {one}." for one in alerts)])


def regression_estimate(p: "Pipeline", name: str, _options: Regression) -> Estimate:
    """Stored answers are read."""
    told = estimates.of_runs(p, name, "model-evaluation-regression")
    return Estimate(0, 0, told.seconds, ("reads stored answers", *told.basis))


ENTRIES = (
    Entry(
        "model-evaluation-comprehensive",
        "Try a trained variant in every way: accuracy, damaged and hostile inputs, other wordings and trials, groups of people",
        "high",
        (TRAINED,),
        ("accuracy", "suite", "robustness", "consistency", "bias"),
        Comprehensive,
        comprehensive_estimate,
        comprehensive,
    ),
    Entry(
        "model-evaluation-benchmark",
        "Measure what trained variants cost: latency, throughput, tokens, memory, price, beside how good they are",
        "medium",
        (TRAINED,),
        ("speed", "tokens", "cost", "quality"),
        Benchmark,
        benchmark_estimate,
        benchmarked,
    ),
    Entry(
        "model-evaluation-regression",
        "Test the newest version of a variant against the champion with a margin, and show all packages over time",
        "low",
        ("an evaluated and packaged variant ('pp run TASK')",),
        ("test", "history", "alerts"),
        Regression,
        regression_estimate,
        regression,
        alarms=True,
    ),
)


def _suite_figures(found: Any, section: str) -> list[Figure]:
    """What edits, wordings and groups change: effects, with the share of answers that flip where there is no effect."""
    if section == "robustness":
        families = {name: one for name, one in found["robustness"]["families"].items() if one["expects"] == "same"}
        return [Figure(f"{name}: effect", one["effect"], one["low"], one["high"], one["n"]) for name, one in families.items()]
    if section == "consistency":
        pairs = found["consistency"]["wording"]["variants"]
    else:
        dimensions = found["bias"]["dimensions"]
        pairs = {f"{name}, {group}": one for name, of in dimensions.items() for group, one in of["groups"].items()}
    return [Figure(f"{name}: answers that flip", one["flips"], one["flip_low"], one["flip_high"], one["n"]) for name, one in pairs.items()]
