"""Model comparison across providers: any model that has a name, on the same rows of a task, each text asked once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pp_assets import pipeline as stages
from pp_assets.evaluation.benchmark import measure, summary
from pp_assets.evaluation.predictions import System, make_rows
from pp_assets.evaluation.providers import Told, leaders, place, provider_table
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.verdict import p_cell
from pp_assets.pipelines import estimates
from pp_assets.pipelines.contenders import Contender, check_named, contenders, trained_variants
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.facts import counted, effect_figure, listed, metric_figure
from pp_assets.pipelines.report import Report, Step, Table
from pp_assets.task.examples import Example, open_test_split, read_split
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.progress import steps

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

QUALITY_HEAD = (
    "rank",
    "model",
    "{metric} [95 % interval]",
    "n",
    "schema valid",
    "difference from the best",
    "p (Holm)",
    "not told apart from",
)
SPEED_HEAD = ("model", "p50 ms", "p95 ms", "tokens written a second", "measured")
COST_HEAD = ("model", "US$ of 1,000 answers [95 % interval]", "n", "by", "")
FEATURES = ("structured output", "streaming", "confidence", "distributions", "context", "offline", "licence")
FLATTERED = "What was trained here chose its epoch and temperatures by validation rows, which flatters it beside others; test=true tells."


class CrossProvider(Options):
    models: tuple[str, ...] = Field(
        (), description="variants, package folders, base-zero-shot and its like, models at addresses; default: all that is trained"
    )
    test: bool = Field(False, description="ask the test rows, an opening that is counted; default: the validation rows")
    rows: int | None = Field(None, ge=2, description="ask a seeded draw of so many rows")
    shots: int = Field(0, ge=0, le=64, description="training rows in the prompt of models that are asked by messages")
    timed: int = Field(16, ge=0, description="texts by which models on this machine are timed, one at a time")
    hourly: float | None = Field(None, ge=0, description="US dollars that an hour of this machine costs")


def cross_provider(p: "Pipeline", name: str, options: CrossProvider) -> Report:
    """Every model on the same rows; answers that are kept are not asked for again."""
    task, report = p.task(name), Report()
    with report.step("answers") as step:
        models, rows = _models(p, name, options), _rows(p, name, options)
        texts = [row.input_text for row in rows]
        systems = [_asked(task, model, rows, texts, step) for model in models]
        which = "test" if options.test else "validation"
        step.said = f"{counted(len(models), 'model')} on {counted(len(rows), f'{which} row')}, {step.calls:,} new answers"
    with report.step("speed") as step:
        told = {model.name: told for model, told in zip(models, _told(models, texts, options, task.spec.seed, step))}
        found = provider_table(task.spec, systems, told)
        step.tables.append(Table("latency of an answer", SPEED_HEAD, tuple(_speed_row(one) for one in found["models"])))
        step.figures = [metric_figure(f"{one['name']}: {q}", one["speed"][q], unit="ms") for one in found["models"] for q in ("p50", "p95")]
        step.said = "models at addresses by the request, those on this machine one text at a time"
    with report.step("quality") as step:
        head = tuple(word.format(metric=found["metric"]) for word in QUALITY_HEAD)
        step.tables.append(Table("ranks that the data cannot tell apart are ranges", head, tuple(map(_quality_row, found["models"]))))
        step.figures = [metric_figure(f"{one['name']}: {found['metric']}", one["primary"]) for one in found["models"]]
        step.figures += [metric_figure(f"{one['name']}: schema valid", one["valid"]) for one in found["models"]]
        best = found["models"][0]["name"]
        pairs = {one["name"]: one["against_best"] for one in found["models"] if one["against_best"]}
        step.figures += [effect_figure(f"{one} - {best}", pair) for one, pair in pairs.items()]
        step.details, first = found, leaders(found)
        step.said = f"first: {listed(first)}"
    with report.step("cost") as step:
        step.tables.append(Table("1,000 answers", COST_HEAD, tuple(_cost_row(one) for one in found["models"])))
        for one in found["models"]:
            step.figures.append(metric_figure(one["name"], one["cost"] | {"value": one["cost"]["usd_per_1000"]}, unit="US$"))
        step.said = "unpriced is said, and not 0"
    with report.step("features") as step:
        features = tuple((one["name"], *(one["features"].get(key, "not known") for key in FEATURES)) for one in found["models"])
        step.tables.append(Table("what each can do", ("model", *FEATURES), features))
        step.said = "as asked for, probed, or said by cards; what nobody told is not known"
    outcome = f"{first[0]} is best" if len(first) == 1 and len(models) > 1 else f"{counted(len(first), 'model')} not told apart"
    trained = any(model.here for model in models) and not options.test
    said = f"{found['metric']} on {found['n']} {which} rows in {found['groups']} groups: {listed(first)}."
    return report.end("ship" if len(first) == 1 and len(models) > 1 else "wait", outcome, [said, *([FLATTERED] if trained else [])])


def cross_provider_estimate(p: "Pipeline", name: str, options: CrossProvider) -> Estimate:
    """Answers that are not kept yet; where the test rows are meant, they are not opened to count them."""
    models = _models(p, name, options)
    if options.test:
        data = p.current(stages.DATASETS, name).metadata
        rows = min(data["test"], options.rows or data["test"])
        return Estimate(rows * len(models), basis=("at most; kept answers to test rows are not looked for, that would open the split",))
    texts = [row.input_text for row in _rows(p, name, options)]
    return estimates.together([estimates.of_answers(kept, texts) for model in models for kept in model.kept])


ENTRY = Entry(
    "model-comparison-cross-provider",
    "Put models of any provider and local ones on one table: quality, speed, cost, features, with ties where data cannot tell",
    "medium",
    ("the task's data ('pp run TASK'), two or more models by name",),
    ("answers", "speed", "quality", "cost", "features"),
    CrossProvider,
    cross_provider_estimate,
    cross_provider,
)


def _models(p: "Pipeline", name: str, options: CrossProvider) -> list[Contender]:
    check_named(p, p.task(name), options.models)
    named = options.models or tuple(trained_variants(p, name))
    if not named:
        raise UserError("no model is named, and nothing is trained", where=f"task {name}", how=f"name models, or run 'pp run {name}'")
    train = read_split(p.current(stages.DATASETS, name).path, "train")
    return contenders(p, p.task(name), train, named, options.shots)


def _rows(p: "Pipeline", name: str, options: CrossProvider) -> list[Example]:
    dataset = p.current(stages.DATASETS, name)
    where = dataset.path
    rows = open_test_split(where, p.ledger, name, "comparison of providers") if options.test else read_split(where, "val")
    if not rows:
        raise UserError("there are no validation rows to ask", where=name, how="make eval_split.ratios.val larger")
    chosen = sorted(generator(p.task(name).spec.seed, "providers").permutation(len(rows))[: options.rows])
    return [rows[i] for i in chosen]


def _asked(task: Any, model: Contender, rows: Sequence[Example], texts: Sequence[str], step: Step) -> System:
    """A model's answers; calls and tokens of those that are new go to the step."""
    before = [set(kept.kept(texts)) for kept in model.kept]
    with steps(model.name, 1) as advance:
        said = model.predictor.predict(texts)
        advance(f"{len(texts)} texts")
    for kept, there in zip(model.kept, before):
        new = set(texts) - there
        answers = kept.kept([text for text in dict.fromkeys(texts) if text in new])
        step.calls += len(answers)
        step.tokens += sum(one.tokens_in + one.tokens_out for one in answers.values())
    made = make_rows(rows, said, lambda output: dump_output(task.output_schema, output))
    return System(name=model.name, kind="candidate", description=model.description, rows=made)


def _told(models: Sequence[Contender], texts: Sequence[str], options: CrossProvider, seed: int, step: Step) -> list[Told]:
    """Times on this machine, measured in turn; what is known of each model."""
    timed: dict[str, Any] = {model.name: model.timed for model in models if model.timed is not None} if options.timed else {}
    some = texts[: options.timed]
    timings = summary(measure(timed, some, batch=len(some), repeats=1), seed) if timed else {}
    step.calls = 3 * len(some) * len(timed)
    found = []
    for model in models:
        features = dict(model.features)
        if "distributions" not in features:
            features["distributions"] = _distributions(model, texts[0])
        found.append(Told(model.here, timings.get(model.name), model.price, options.hourly, features))
    return found


def _distributions(model: Contender, text: str) -> str:
    """Whether it tells the probability of each choice, by asking it once."""
    try:
        (said,) = model.predictor.predict([text], distributions=True)
    except UserError:
        return "no"
    return "yes" if said.choices else "no"


def _quality_row(one: Any) -> tuple[str, ...]:
    pair, value, valid = one["against_best"], one["primary"], one["valid"]
    gap = "" if pair is None else _span(pair["effect"], pair["low"], pair["high"], "+")
    p_value = "" if pair is None else p_cell(pair["p_holm"])
    shown = _span(value["value"], value["low"], value["high"])
    checked = _span(valid["value"], valid["low"], valid["high"])
    return (place(one), one["name"], shown, str(value["n"]), checked, gap, p_value, listed(one["tied"], 3))


def _speed_row(one: Any) -> tuple[str, ...]:
    speed = one["speed"]
    rate = speed["tokens_per_s"]
    cells = (_span(speed[q]["value"], speed[q]["low"], speed[q]["high"], digits=1) for q in ("p50", "p95"))
    return (one["name"], *cells, "–" if rate is None else f"{rate:.0f}", speed["how"])


def _cost_row(one: Any) -> tuple[str, ...]:
    cost = one["cost"]
    value, low, high = (cost.get(key) for key in ("usd_per_1000", "low", "high"))
    shown = "unpriced" if value is None else f"{value:.4g}" if low is None or high is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"
    return (one["name"], shown, "–" if value is None else str(cost["n"]), cost["by"], cost["reason"])


def _span(value: float | None, low: float | None, high: float | None, sign: str = "", digits: int = 3) -> str:
    if value is None:
        return "–"
    shown = f"{value:{sign}.{digits}f}"
    return shown if low is None or high is None else f"{shown} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
