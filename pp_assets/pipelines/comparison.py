"""Model comparison: an A/B test of two systems, and ensembles of what is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pp_assets import pipeline as stages
from pp_assets.pipeline import read_json
from pp_assets.pipelines import cross_provider, estimates
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.facts import counted, effect_figure, evaluation_figures, listed, metric_figure, trained_variant
from pp_assets.pipelines.report import Figure, Report, Table
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.evaluation.head_to_head import Side
    from pp_assets.pipeline import Pipeline

STRATEGIES = ("vote", "weighted", "stack", "route")


class AbTest(Options):
    a: str | None = Field(None, description="variant or baseline of the task, package or file of predictions; default: the champion")
    b: str | None = Field(None, description="what it is tested against; default: the best baseline")
    metric: str | None = Field(None, description="default: the task's primary one")
    sequential: bool = Field(False, description="reveal items in batches and stop when enough is known")
    batch: int | None = Field(None, ge=1, description="groups in a batch; default: a 20th of them")
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="of the order of items; default: the task's")


def ab(p: "Pipeline", name: str, options: AbTest) -> Report:
    """Winner, confidence, p, effect sizes and power from stored answers to the test items; no model runs."""
    from pp_assets.evaluation.ab import ab_test, sequential_test
    from pp_assets.evaluation.comparison import comparison_document, verdict
    from pp_assets.evaluation.comparison_page import comparison_html, comparison_json

    report, task = Report(), p.task(name)
    with report.step("design") as step:
        sides = _sides(p, name, options)
        found = ab_test(task.spec, *sides, options.metric)
        c = found["comparison"]
        step.said = f"{sides[0][0]} against {sides[1][0]} by {found['metric']} on {found['n']} items in {found['groups']} groups"
        step.figures = [Figure("smallest effect with 80 % power", c["detectable"], n=found["n"])]
    with report.step("answers") as step:
        step.figures = [metric_figure(side["name"], side) for side in (found["a"], found["b"])]
        step.said = f"{found['wins']} won, {found['losses']} lost, {found['ties']} equal for {sides[0][0]}"
    with report.step("analysis") as step:
        looks = {"batch": options.batch, "seed": options.seed}
        path = sequential_test(task.spec, *sides, options.metric, **looks) if options.sequential else None  # type: ignore[arg-type]
        step.figures = [effect_figure("effect", {**c, "n": found["n"]})]
        step.figures += [Figure(key, found[key], n=found["n"]) for key in ("p_value", "confidence", "power")]
        step.figures += [Figure(key, found["effect_size"][key], n=found["n"]) for key in ("odds_ratio", "cohens_dz", "cliffs_delta")]
        judged = verdict(found, path)
        step.said, step.details = found["conclusion"], {"winner": found["winner"], "p_value": found["p_value"]}
        told = comparison_document(task.spec, *sides, found, f"pp pipeline run model-comparison-ab --task {name}", path)
        step.files = {
            "comparison.html": comparison_html(told).encode("utf-8", "backslashreplace"),
            "comparison.json": comparison_json(told).encode(),
        }
    winner = {"A IS BETTER": sides[0][0], "B IS BETTER": sides[1][0]}.get(judged["label"])
    return report.end(judged["kind"], f"{winner} is better" if winner else "not decided", judged["reasons"])


def ab_estimate(p: "Pipeline", name: str, _options: AbTest) -> Estimate:
    """Stored answers are read."""
    return Estimate(0, 0, estimates.of_runs(p, name, "model-comparison-ab").seconds, ("reads stored answers",))


class Ensemble(Options):
    strategies: tuple[str, ...] = Field(STRATEGIES, description=f"of {', '.join(STRATEGIES)}")
    evaluate: bool = Field(True, description="answer the test items with each, which opens the test split")


def ensemble(p: "Pipeline", name: str, options: Ensemble) -> Report:
    """Ensembles of the task's trained variants, each strategy fitted on validation rows, then ranked on the test items."""
    from pp_assets.ensembles import member_artifacts

    report, variants = Report(), _variants(options.strategies)
    with report.step("fit") as step:
        fitted = [p.adapter(name, variant) for variant in variants]
        step.made += fitted
        for made in fitted:
            told = read_json(made.file("training.json"))
            gain, n = told.get("val_gain"), int(made.metadata.get("val_rows", 0)) or len(p.training_rows(name).val)
            label = made.key.partition("/")[2]
            step.figures.append(Figure(f"{label}: validation rows right", told.get("val_object_exact_match"), n=n))
            if gain:
                step.figures.append(Figure(f"{label}: gain over {gain['over']}", gain["effect"], gain["low"], gain["high"], n))
            step.figures.append(Figure(f"{label}: members asked", told.get("val_calls"), n=n))
        members = list(member_artifacts(p, fitted[0]))
        step.said = f"{counted(len(fitted), 'strategy', 'strategies')} of {listed(members)}, fitted out of fold on validation rows"
    if not options.evaluate:
        return report.end("wait", "fitted", [f"{step.said}.", "evaluate=true tells what each is worth on the test items."])
    with report.step("evaluate") as step:
        for variant in variants:
            made = p.eval_report(name, variant)
            step.made.append(made)
            step.calls += 0 if made.reused else int(made.metadata["asked"])
            step.figures += [Figure(f"{variant}: {f.name}", f.value, f.low, f.high, f.n, f.unit) for f in evaluation_figures(made.metadata)]
        step.said = "answers of members that were kept were not asked again"
    with report.step("rank") as step:
        board = p.leaderboard(name)
        step.made.append(board)
        entries = read_json(board.file("leaderboard.json"))
        rows = []
        for one in entries:
            value, tied = one["primary"], listed(one["not_separated"], 3)
            rows.append((str(one["rank"]), one["name"], f"{value['value']:.3f}" if value["value"] is not None else "–", tied))
        step.tables.append(
            Table("all systems of the task on the test items", ("rank", "system", "value", "not told apart from"), tuple(rows))
        )
        ours = [one for one in entries if one["name"] in variants]
        best = ours[0]
        step.figures = [effect_figure(f"{best['name']} - {member}", best["pairs"][member]) for member in members if member in best["pairs"]]
        step.said = f"{best['name']} is the best of the ensembles"
    pairs = [best["pairs"][member] for member in members if member in best["pairs"]]
    shown = bool(pairs) and all(pair["p_holm"] is not None and pair["p_holm"] < 0.05 and pair["effect"] > 0 for pair in pairs)
    outcome = f"{best['name']} beats its members" if shown else "no ensemble is shown to beat its members"
    return report.end("ship" if shown else "wait", outcome, [f"{step.said}; p values are adjusted over all pairs of the table (Holm)."])


def ensemble_estimate(p: "Pipeline", name: str, _options: Ensemble) -> Estimate:
    """Members that have answered the validation and test rows are not asked again."""
    from pp_assets.pipelines.contenders import kept_answers

    texts = [row.input_text for row in p.training_rows(name).val]
    there = [v for v in p.task(name).spec.variants if p.store.current(stages.ADAPTERS, f"{name}/{v}") and not v.startswith("ensemble-")]
    parts = [estimates.of_answers(one, texts) for variant in there for one in kept_answers(p, name, variant)]
    told = estimates.together(parts)
    return Estimate(
        told.calls, told.tokens, told.seconds, (*told.basis, "validation rows alone; members answered test items when evaluated")
    )


ENTRIES = (
    Entry(
        "model-comparison-ab",
        "Test two systems against each other on the same test items: winner, confidence, p, effect size, power",
        "medium",
        ("two systems with stored answers to the test items ('pp run TASK')",),
        ("design", "answers", "analysis"),
        AbTest,
        ab_estimate,
        ab,
    ),
    Entry(
        "model-comparison-ensemble",
        "Combine trained variants by vote, weights, stacking or routing, and say whether that beats the best of them",
        "high",
        ("two or more trained variants, named in task.yaml (variants, or params.ensemble-*.members)",),
        ("fit", "evaluate", "rank"),
        Ensemble,
        ensemble_estimate,
        ensemble,
        trains=True,
    ),
    cross_provider.ENTRY,
)


def _sides(p: "Pipeline", name: str, options: AbTest) -> "tuple[Side, Side]":
    """The two systems with their rows."""
    from pp_assets.stored_answers import find_answers, stored_systems

    there = stored_systems(p, name)
    a = options.a or trained_variant(p, name, None)
    b = options.b or (_best_baseline(p, name, a) if a in there else None)
    if b is None:
        raise UserError("nothing to test it against", where="option b", how=nearest("", [one for one in there if one != a]))
    found = [find_answers(p, f"{name}/{one}" if one in there else one) for one in (a, b)]
    others = sorted({one.task for one in found if one.task not in (None, name)} - {None}, key=str)
    if others:
        raise UserError(f"answers of another task: {others[0]}", where="options a and b", how=f"name systems of {name}")
    return (a, found[0].rows), (b, found[1].rows)


def _best_baseline(p: "Pipeline", name: str, a: str) -> str | None:
    report = p.store.current(stages.EVALUATIONS, f"{name}/{a}")
    return str(report.metadata["best_baseline"]) if report and report.metadata["best_baseline"] else None


def _variants(strategies: Sequence[str]) -> list[str]:
    for one in strategies:
        if one not in STRATEGIES:
            raise UserError(f"unknown strategy {one!r}", where="strategies", how=nearest(one, STRATEGIES))
    if not strategies:
        raise UserError("names none", where="strategies", how=f"such as {STRATEGIES[0]}")
    return [f"ensemble-{one}" for one in dict.fromkeys(strategies)]
