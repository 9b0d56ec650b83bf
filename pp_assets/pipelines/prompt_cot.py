"""`prompt-engineering-cot`: steps extracted, checked, put into prompts, and measured against the same prompts without them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pp_assets.data.generation.grid import Grid
from pp_assets.data.generation.slots import Slots
from pp_assets.pipelines.facts import metric_figure
from pp_assets.pipelines.prompt_work import (
    Work,
    beside_figures,
    ended,
    judged_step,
    quality_figure,
    tried_table,
    without,
    working,
)
from pp_assets.pipelines.prompting import COT, ChainOfThought
from pp_assets.pipelines.report import Report, Step, Table
from pp_assets.prompts.candidate import Candidate, Ground, Judged
from pp_assets.prompts.guards import guards
from pp_assets.prompts.reasoning.benchmark import Benchmark, Pair, benchmark, pair_of
from pp_assets.prompts.reasoning.checks import StepChecker, by_reason
from pp_assets.prompts.reasoning.extract import READ_OFF, Steps, extracted
from pp_assets.prompts.reasoning.rationales import OWN, TOLD, Rationales, rationales
from pp_assets.prompts.search.gate import Ruling
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.run import find_prompt

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

WRITTEN = "written"
SHOWN = 5  # reasonings of each source in the report


@dataclass(frozen=True)
class Listed:
    """Proposes prompts that are there already."""

    candidates: Sequence[Candidate]
    source: str = "reasoning"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:  # noqa: ARG002
        return list(self.candidates[:count])


def run(p: "Pipeline", name: str, options: ChainOfThought) -> Report:
    """Chosen on rows to choose by, tested once on test rows, where the twin without steps answers too."""
    report = Report()
    with working(p, name, COT, options) as work:
        with report.step("reasoning step extraction") as step, work.bought(step):
            read_off = extracted(work.spec, work.rows.train)
            some = work.rows.train[: options.rationales]
            made = rationales(work.spec, some, work.arena, work.writer) if some else Rationales()
            step.said = _extracted(read_off, made)
        with report.step("logic validation") as step:
            sound = _validated(work, read_off, made, step)
        with report.step("example generation") as step:
            pairs = pairs_of(work, {READ_OFF: sound, WRITTEN: made.kept}, options.shots)
            step.said = f"{len(pairs)} prompts that ask for steps, each with a twin that does not"
            step.said += without(options.shots, [pair.shots for pair in pairs])
            step.tables = [_example_table({READ_OFF: sound, WRITTEN: made.kept})]
        with report.step("choice") as step, work.bought(step):
            found = find_prompt(
                work.arena,
                work.ground,
                work.rows,
                work.held,
                strategy=Halving(rounds=1),
                proposers=[Listed([pair.reasoned for pair in pairs])],
                guards=guards,
                seed=work.seed,
                ledger=work.folder / "test-calls.jsonl",
            )
            step.said = (
                f"{sum(bool(node['judged']) for node in work.tree.plain)} prompts tried on up to {len(found.finalists[0].rows)} rows"
            )
            step.tables = [tried_table(work)]
        with report.step("test") as step:
            judged_step(work, found, step, report.steps[-1])
        with report.step("performance benchmarking") as step:
            best = next((one for one in found.finalists if one.candidate.wording.reasoned), None)
            pair = next((one for one in pairs if best and one.reasoned.id == best.candidate.id), None)
            if best is None or pair is None:
                step.said = "no prompt that asks for steps was judged on all rows: allow more calls"
            else:
                tested = bool(work.opened) and found.tested is not None and found.tested[0].candidate.id == pair.reasoned.id
                with work.arena.charged(work.extra("benchmark-calls")) as arena, work.bought(step):
                    measured = benchmark(work.spec, arena, pair, work.opened if tested else best.rows)
                    _measured(work, found.ruling, measured, step, "test rows" if tested else "rows to choose by, the test split being shut")
    return ended(report, found.ruling, [report.steps[-1].said])


def pairs_of(work: Work, sources: dict[str, Sequence[Steps]], counts: Sequence[int]) -> list[Pair]:
    """A pair without examples, and one for each source of steps and each count, where there are as many and they fit."""
    pairs = [pair_of(work.spec, work.start)]
    for count in counts:
        for source, steps in sources.items():
            chosen = varied(work, steps)[:count]
            pair = pair_of(work.spec, work.start, chosen, source)
            if len(chosen) == count and not guards(work.ground, pair.reasoned):
                pairs.append(pair)
    return pairs


def varied(work: Work, steps: Sequence[Steps]) -> list[Steps]:
    """Of each label in turn, the better ones first, one of a group."""
    grid, by_label, groups = Grid(Slots(work.spec.output_schema, work.rows.train)), dict[str, list[Steps]](), set[str]()
    for one in steps:
        if not one.example.group or one.example.group not in groups:
            groups.add(one.example.group)
            by_label.setdefault(grid.label(one.example.output), []).append(one)
    most = max(map(len, by_label.values()), default=0)
    return [listed[turn] for turn in range(most) for _, listed in sorted(by_label.items()) if turn < len(listed)]


def _extracted(read_off: Sequence[Steps], made: Rationales) -> str:
    counts, supported = made.sources, sum(one.supported for one in read_off) / max(1, len(read_off))
    told = [f"steps of {len(read_off)} training rows read off by code, {supported:.0%} of their fields supported"]
    told += [f"{counts.get(OWN, 0)} reasonings of the model's own", f"{counts.get(TOLD, 0)} written to known answers"]
    return "; ".join([*told, *([f"ended early: {made.stopped}"] if made.stopped else [])])


def _validated(work: Work, read_off: Sequence[Steps], made: Rationales, step: Step) -> list[Steps]:
    checker = StepChecker(work.spec.output_schema)
    faults = [[f.reason for f in checker.faults(one.example.input_text, one.example.output, one.steps)] for one in read_off]
    sound = [one for one, found in zip(read_off, faults, strict=True) if not found]
    rows = [(READ_OFF, reason, str(count)) for reason, count in by_reason(faults).items()]
    rows += [(WRITTEN, reason, str(count)) for reason, count in made.rejected.most_common()]
    asked = len(made.kept) + made.rejected.total()
    step.said = f"{len(sound)} of {len(read_off)} that were read off hold, and {len(made.kept)} of {asked} that a model gave"
    step.tables = [Table("Rejected", ("steps", "reason", "rows"), tuple(rows))]
    return sound


def _example_table(sources: dict[str, Sequence[Steps]]) -> Table:
    rows = [
        (source if one.source == source else one.source, one.example.input_text[:160], " ".join(one.steps))
        for source, steps in sources.items()
        for one in steps[:SHOWN]
    ]
    return Table("Reasonings", ("from", "input", "steps"), tuple(rows))


def _measured(work: Work, ruling: Ruling, found: Benchmark, step: Step, of: str) -> None:
    steps = found.consistency
    quality = found.beside.quality
    effect = "could not be compared" if quality.effect is None else f"is worth {quality.effect:+.4f}"
    step.said = f"Reasoning {effect} {quality.metric} against the same prompt without it, on {quality.n} {of}."
    if quality.p_value is None or quality.p_value >= work.arena.scoring.alpha or (quality.effect or 0.0) <= 0:
        more = found.reasoned.tokens - found.plain.tokens
        due = ": what is gained is due to the examples" if ruling.label == "RELEASE" else ""
        step.said += f" The steps are not shown to help, and take {more:.0f} tokens more an answer{due}."
    step.figures = [
        quality_figure(work.spec, "with reasoning", found.reasoned),
        quality_figure(work.spec, "without reasoning", found.plain),
        *beside_figures("with reasoning against without", found.beside),
        metric_figure("reasoning consistency: answers whose steps pass the checks", asdict(steps.passing)),
        metric_figure("whole objects right where they pass", asdict(steps.when_passing)),
        metric_figure("whole objects right where they do not", asdict(steps.when_not)),
    ]
    step.tables = [Table("Faults of reasonings", ("reason", "answers"), tuple((why, str(n)) for why, n in steps.reasons.items()))]
