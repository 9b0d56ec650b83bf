"""What every study of prompts works with: a target, rows to learn from, to choose by and to test on, a budget; how it tells results."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pp_assets import pipeline as stages
from pp_assets.pipeline import rows_digest
from pp_assets.pipelines.facts import effect_figure, listed, metric_figure
from pp_assets.pipelines.prompting import Studied
from pp_assets.pipelines.report import Figure, Kind, Report, Step, Table
from pp_assets.prompts.candidate import Ground, Judged
from pp_assets.prompts.measured import Beside, quality
from pp_assets.prompts.optimising import ground_of, test_rows
from pp_assets.prompts.search import parts
from pp_assets.prompts.search.account import Account, Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.export import exported
from pp_assets.prompts.search.gate import Ruling
from pp_assets.prompts.search.run import Found, Held
from pp_assets.prompts.search.splits import search_rows
from pp_assets.prompts.search.strategy import Rows
from pp_assets.prompts.search.tree import Tree, last_judged
from pp_assets.prompts.search.writer import KeptWriter
from pp_assets.prompts.wording import Wording
from pp_assets.providers import chat_model
from pp_assets.task.causal_prompt import PROMPT_PROBE
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task, TaskSpec
from pp_assets.trainings import refuse_leaks
from pp_resources.fingerprint import digest
from pp_resources.models.chat import ChatModel

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

KIND_OF: dict[str, Kind] = {"RELEASE": "ship", "WORSE": "stop", "NOT PROVEN": "wait"}


@dataclass
class Work:
    """One study under way. `asked` names the target; `held` opens the test rows, `opened` are these once it has; `extra(name)` is an
    account beside the budget."""

    task: Task
    arena: Arena
    ground: Ground
    rows: Rows
    held: Held
    folder: Path
    seed: int
    asked: str
    tree: Tree
    opened: list[Example] = field(default_factory=list)

    @property
    def spec(self) -> TaskSpec:
        return self.task.spec

    @property
    def start(self) -> Wording:
        return Wording.of(self.spec)

    @property
    def writer(self) -> ChatModel | None:
        return self.ground.model

    def extra(self, name: str, calls: int | None = None) -> Account:
        return Account(Budget(calls), self.folder / f"{name}.jsonl")

    @contextmanager
    def bought(self, step: Step) -> Iterator[None]:
        """Counts what a step buys."""
        calls, tokens = self.arena.calls, self.arena.tokens
        yield
        step.calls, step.tokens = self.arena.calls - calls, self.arena.tokens - tokens


@contextmanager
def working(p: "Pipeline", name: str, study: str, options: Studied, share: float = 1.0) -> Iterator[Work]:
    """Everything that a study needs; `share` of the calls is the arena's. Raises UserError for a task without data, a model that is not
    there, or rows that leak into the test split."""
    from pp_assets.task.contract.files import load_contract

    task, kept = p.task(name), p.training_rows(name)
    refuse_leaks(p, name)
    target = parts.target_named(options.target, task, kept.train, p.settings)
    model = chat_model(options.writer, p.settings) if options.writer else None
    dataset = p.current(stages.DATASETS, name)
    seed = task.spec.seed if options.seed is None else options.seed
    rows = search_rows(task.output_schema, kept.train, kept.val, seed)
    asked = [study, target.identity, model.identity if model else "", options.model_dump(mode="json"), dataset.digest]
    folder = p.settings.home / stages.PROMPTS / name / digest([*asked, rows_digest(kept.train)], ordered=True)[:16]
    account, tree = Account(Budget(max(1, int(options.calls * share))), folder / "calls.jsonl"), Tree()
    contract = load_contract(task, kept.train)
    with Arena(task.spec, target, p.settings.home / "cells.db", contract=contract, account=account, on_event=tree.hear) as arena:
        pen = KeptWriter(model, arena.store, account) if model else None
        ground = ground_of(p, task, contract, rows.train, pen, [], target)
        work = Work(task, arena, ground, rows, Held(0, list), folder, seed, options.target, tree)

        def opened() -> Sequence[Example]:
            work.opened = list(test_rows(p, dataset, name, folder.name))
            return work.opened

        work.held = Held(int(dataset.metadata["test"]), opened)
        yield work


def beside_figures(of: str, found: Beside) -> list[Figure]:
    """Effects on quality, tokens and time; positive is better."""
    named = (("quality", found.quality), ("tokens saved", found.tokens), ("milliseconds saved", found.latency))
    return [effect_figure(f"{of}: {what}", asdict(one)) for what, one in named]


def quality_figure(spec: TaskSpec, of: str, one: Judged) -> Figure:
    """The primary metric of a candidate's answers."""
    return metric_figure(f"{of}: {spec.primary_metric.name}", asdict(quality(spec, one)))


def without(wanted: Iterable[int], made: Iterable[int]) -> str:
    """What a step says of counts of examples that no prompt could have; "" where all could."""
    missed = sorted({*wanted} - {*made} - {0})
    return f"; none with {listed([str(count) for count in missed])} examples, which leave no room or are not there" if missed else ""


def tried_table(work: Work) -> Table:
    """Every candidate of the search with its score on the most rows it was judged on."""
    rows = []
    for node in work.tree.plain:
        value, count = last_judged(node)
        why = "; ".join(node["reasons"]) or node["note"]
        cells = (node["id"], node["source"], "–" if value is None else f"{value:.4f}", str(count), node["state"], why)
        rows.append((-count, -(value or 0.0), cells))
    cells_in_order = tuple(cells for *_, cells in sorted(rows, key=lambda row: row[:2]))
    return Table("Candidates, on the rows to choose by", ("id", "from", "score", "rows", "state", "what it is"), cells_in_order)


def judged_step(work: Work, found: Found, step: Step, choice: Step) -> None:
    """The test of the one that was chosen; its time, which the search that made the `choice` took, is told here."""
    ruling = found.ruling
    choice.seconds, step.seconds = round(choice.seconds - found.test_seconds, 2), found.test_seconds
    step.calls, step.tokens, step.said = found.test_spent["calls"], found.test_spent["tokens"], f"{ruling.label}: {ruling.reasons[0]}"
    if ruling.comparison:
        step.figures.append(effect_figure(f"gain over the task's own prompt, {ruling.comparison['metric']}", ruling.comparison))
    if found.tested:
        step.figures += [quality_figure(work.spec, of, one) for of, one in zip(("chosen", "the task's own"), found.tested, strict=True)]
    if found.best.id != found.start.id:
        step.tables.append(_words_table(found.best.wording.messages(work.spec, PROMPT_PROBE)))
    facts = {"candidate": found.best.id, "asked": work.asked, "verdict": ruling.label}
    step.files["prompt.json"] = json.dumps(exported(work.spec, found.best.wording, **facts), indent=1, ensure_ascii=False).encode()
    step.details = {"ruling": ruling.plain, "best": found.best.id}


def _words_table(messages: Sequence[Mapping[str, str]]) -> Table:
    """The lines of a prompt."""
    lines = [(one["role"], line) for one in messages for line in one["content"].splitlines() if line.strip()]
    return Table("The prompt that was chosen, as a model reads it", ("role", "line"), tuple(lines))


def ended(report: Report, ruling: Ruling, more: Sequence[str] = ()) -> Report:
    """The outcome of a search."""
    return report.end(KIND_OF[ruling.label], ruling.label, [*ruling.reasons, *more])
