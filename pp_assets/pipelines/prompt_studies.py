"""Studies of a prompt beside the catalogue, with the same reports: what each of its parts buys, and why it fails and what helps."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from pp_assets import pipeline as stages
from pp_assets.evaluation.drawing import Bar, forest
from pp_assets.evaluation.verdict import p_cell
from pp_assets.pipelines.facts import effect_figure
from pp_assets.pipelines.prompt_work import Work, ended, judged_step, quality_figure, tried_table, working
from pp_assets.pipelines.prompting import EXPLAIN, IMPACT, Explaining, Impacts
from pp_assets.pipelines.report import Report, Table
from pp_assets.prompts.candidate import Candidate, Origin
from pp_assets.prompts.explain import Advised, Explained, by_place, changed, explain
from pp_assets.prompts.guards import guards, room
from pp_assets.prompts.impact import Impact, impact, parts_of
from pp_assets.prompts.optimising import slug
from pp_assets.prompts.propose.reflection import Reflection
from pp_assets.prompts.search.export import read_prompt, wording_of
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.run import find_prompt
from pp_assets.prompts.wording import Shown, Wording
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

LEAST = 10  # rows on which an effect is worth looking at


def check_calls(p: "Pipeline", name: str, options: Impacts) -> None:
    """Raise UserError where the calls are too few for the parts that the prompt will have, before any data is read."""
    wording, shots = _whole(p, name, options), options.shots
    rest = parts_of(p.task(name).spec, replace(wording, shots=()) if shots else wording)
    _affordable(options.calls, options.calls, len(rest) + shots + (shots > 1))  # each example, and all of them


def impacts(p: "Pipeline", name: str, options: Impacts) -> Report:
    """Every part of the prompt is left out in turn, on the rows to choose by; the test split stays shut."""
    report = Report()
    with working(p, name, IMPACT, options) as work:
        with report.step("parts") as step:
            wording = _wording(p, name, work, options)
            found = parts_of(work.spec, wording)
            step.said = f"{len(found)} parts that can be left out"
        with report.step("effects") as step, work.bought(step):
            rows = work.rows.val[: _affordable(options.calls, work.arena.left, len(found))]
            whole, made = impact(work.spec, work.arena, wording, rows, work.ground.count_tokens)
            shown = [one for one in made if one.verdict != "not shown"]
            step.said = f"{len(shown)} of {len(made)} parts are shown to matter on {len(rows)} rows"
            step.figures = [quality_figure(work.spec, "the whole prompt", whole)]
            step.figures += [effect_figure(one.part.name, asdict(one.effect)) for one in made]
            step.tables = [_impact_table(made)]
            bars = [Bar(one.part.name, one.effect.effect, one.effect.low, one.effect.high) for one in made]
            drawn = forest(bars, f"what each part buys, {work.spec.primary_metric.name}", {0.0: "--"}, width=6.4)
            step.files |= {"impact.png": drawn} if drawn else {}
    reasons = [f"{one.part.name} {one.verdict}: {_effect(one)}, {one.tokens} tokens." for one in shown]
    spare = sum(one.tokens for one in made if one.verdict == "not shown" and one.part.kind == "instruction")
    reasons.append(
        f"Instructions without a shown effect take {spare} tokens of every prompt; that none is shown does not say that there is none."
    )
    return report.end("wait", f"{len(shown)} of {len(made)} parts are shown to matter", reasons)


def explained(p: "Pipeline", name: str, options: Explaining) -> Report:
    """Failures on training rows explained, instructions made of the explanations, the best chosen on other rows and tested on test rows."""
    report = Report()
    with working(p, name, EXPLAIN, options) as work:
        with report.step("failures") as step, work.bought(step):
            first = Candidate.of(work.spec, work.start, Origin("seed"))
            sample = work.rows.train[: max(LEAST, options.calls // 8)]
            before = explain(work.spec, work.arena.judge(first, sample))
            where = ", ".join(f"{place} {count}" for place, count in by_place(before).items())
            step.said = f"{len(before)} kinds of failure on {len(sample)} training rows ({where})" if before else "there is no failure"
            step.tables = [_failure_table(before)]
            step.details = {"failures": [{**{k: getattr(one, k) for k in ("place", "kind", "count", "words", "advice")}} for one in before]}
        with report.step("improvements") as step, work.bought(step):
            found = find_prompt(
                work.arena,
                work.ground,
                work.rows,
                work.held,
                strategy=Halving(rounds=options.rounds),
                proposers=[Advised(), *([Reflection()] if work.writer else [])],
                guards=guards,
                seed=work.seed,
                ledger=work.folder / "test-calls.jsonl",
            )
            step.said = f"{sum(bool(node['judged']) for node in work.tree.plain)} prompts tried"
            step.tables = [tried_table(work)]
        with report.step("test") as step:
            judged_step(work, found, step, report.steps[-1])
        with report.step("what has changed") as step:
            own = next(one for one in found.finalists if one.candidate.id == found.start.id)
            pair = found.tested or (found.finalists[0], own)
            rows = changed(explain(work.spec, pair[1]), explain(work.spec, pair[0]))
            of = "test rows" if found.tested else "rows to choose by"
            step.said = f"failures before and after, on {len(pair[0].rows)} {of}"
            cells = tuple((place, kind, str(one), str(other)) for place, kind, one, other in rows)
            step.tables = [Table("Failures", ("where", "what", "before", "after"), cells)]
    note = found.best.origin.note
    return ended(report, found.ruling, [f"What the chosen prompt was made from: {note}"] if found.best.id != found.start.id else [])


def _affordable(calls: int, left: int, count: int) -> int:
    """Rows on which the whole prompt and each of so many parts can be tried, with what is `left` of `calls`."""
    if left // (1 + count) < LEAST:
        raise UserError(f"{calls} calls are too few for {count} parts", where="calls", how=f"allow {LEAST * (1 + count)} or more")
    return left // (1 + count)


def _whole(p: "Pipeline", name: str, options: Impacts) -> Wording:
    """The task's own prompt, or the one that was found."""
    if not options.found:
        return Wording.of(p.task(name).spec)
    made = p.store.require(stages.PROMPTS, f"{name}/{slug(options.target)}", f"run 'pp prompt optimise {name}'")
    return wording_of(read_prompt(made.file("prompt.json")))


def _wording(p: "Pipeline", name: str, work: Work, options: Impacts) -> Wording:
    wording = _whole(p, name, options)
    if options.shots:
        from pp_assets.base_systems import few_shot

        drawn = few_shot(work.rows.train, options.shots, work.seed)
        wording = replace(wording, shots=tuple(Shown(row.input_text, row.output, item_id=row.item_id) for row in drawn))
        if room(work.ground, wording) < 0:
            raise UserError(f"{options.shots} examples leave no room for an input", where="shots", how="give fewer")
    return wording


def _impact_table(made: list[Impact]) -> Table:
    head = ("part", "text", "tokens", "effect", "p (Holm)", "smallest detectable", "what it does")
    rows = []
    for one in made:
        least = "–" if one.effect.detectable is None else f"{one.effect.detectable:.3f}"
        p = p_cell(one.effect.p_holm)
        rows.append((one.part.name, one.part.text[:160], str(one.tokens), _effect(one), p, least, one.verdict))
    return Table("The whole prompt against the one without the part; positive: the part helps", head, tuple(rows))


def _effect(one: Impact) -> str:
    found = one.effect
    if found.effect is None:
        return f"– ({found.reason})"
    span = "" if found.low is None or found.high is None else f" ({found.low:+.4f} to {found.high:+.4f})"
    return f"{found.effect:+.4f}{span}"


def _failure_table(found: list[Explained]) -> Table:
    head = ("where", "what is wrong", "rows", "explained", "for example", "answered")
    rows = [
        (one.place, one.kind, f"{one.count} of {one.rows}", one.words, one.examples[0].row.input_text[:160], one.examples[0].answered[:160])
        for one in found
    ]
    return Table("Failures by kind", head, tuple(rows))
