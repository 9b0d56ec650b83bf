"""The stage that searches a prompt for a task: on training and validation rows, and once, for the one that was chosen, on test rows.

What a search asks lies in `<home>/cells.db`, its events and counts in `<home>/prompts/<task>/<digest>/`; both outlive a kill. What it found
is an artifact of its own for each task and target.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.predictions import SUFFIX, write_predictions
from pp_assets.pipeline import answering_spec, read_json, rows_digest, scoring_spec
from pp_assets.prompts.candidate import Candidate, Ground, Judged
from pp_assets.prompts.guards import guards
from pp_assets.prompts.prompted import Target
from pp_assets.prompts.search import parts
from pp_assets.prompts.search.account import Account, Budget
from pp_assets.prompts.search.arena import Arena, Hear
from pp_assets.prompts.search.export import check, exported, write_prompt
from pp_assets.prompts.search.gate import UNLIMITED, Limits, rows_of
from pp_assets.prompts.search.run import Found, Held, Until, find_prompt
from pp_assets.prompts.search.splits import search_rows
from pp_assets.prompts.search.tree import EventLog, Tree
from pp_assets.prompts.search.writer import KeptWriter
from pp_assets.providers import chat_model
from pp_assets.sources import source_digest
from pp_assets.trainings import refuse_leaks
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.models.chat import ChatModel

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.contract.spec import Contract
    from pp_assets.task.spec import Task

CALLS = 1000  # of a search, where neither calls nor tokens nor dollars are given
MODULES = ("pp_assets.prompts.search.run", "pp_assets.prompts.search.parts", "pp_assets.prompts.search.splits")


@dataclass(frozen=True)
class Wanted:
    """What to search and how long. `target` and `writer` are names of models (`parts.target_named`); `until` a stop rule."""

    target: str = parts.BASE
    writer: str | None = None
    strategy: str = "halving"
    calls: int | None = None
    tokens: int | None = None
    usd: float | None = None
    seed: int | None = None
    until: str | None = None
    limits: Limits = UNLIMITED

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> "Wanted":
        """From plain values, where those of the limits are called `max_tokens` and so on."""
        held = {f"max_{one.name}": one.name for one in fields(Limits)}
        limits = Limits(**{held[name]: value for name, value in asked.items() if name in held})
        return cls(**{name: value for name, value in asked.items() if name not in held}, limits=limits)

    @property
    def budget(self) -> Budget:
        bounded = (self.calls, self.tokens, self.usd) != (None, None, None)
        return Budget(self.calls if bounded else CALLS, self.tokens, self.usd)


def check_wanted(p: "Pipeline", name: str, wanted: Wanted, *, ask: bool = True) -> None:
    """Raise UserError for a strategy, a stop rule, a model or a budget that cannot be, before the task's data is made ready; with `ask`
    also for a model that a provider says it does not serve."""
    task = p.task(name)
    parts.strategy_named(wanted.strategy)
    if wanted.until:
        Until.of(task.spec, wanted.until)
    parts.check_budget(wanted.target, wanted.writer, wanted.budget, p.settings)
    parts.check_models(wanted.target, wanted.writer, task, p.settings, ask=ask)


def slug(target: str) -> str:
    """The name of a target in the key of an artifact."""
    return re.sub(r"[^a-z0-9._-]+", "-", target.lower()).strip("-._")[:62] or parts.BASE


def optimised(p: "Pipeline", name: str, wanted: Wanted, on_event: Hear = lambda _event: None) -> Artifact:
    """prompt.json: the best finalist word for word; verdict.json: whether it may take the place of the task's own; tree.json, report.html,
    report.md, front.png; answers/: of both to the test rows, where these were opened. What was killed goes on."""
    task, rows = p.task(name), p.training_rows(name)
    refuse_leaks(p, name)
    target = parts.target_named(wanted.target, task, rows.train, p.settings)
    writer = chat_model(wanted.writer, p.settings) if wanted.writer else None
    dataset, kept = p.current(stages.DATASETS, name), p.current(stages.CONTRACTS, name)
    until = Until.of(task.spec, wanted.until) if wanted.until else None
    strategy = parts.strategy_named(wanted.strategy, (lambda best: until.reached(task.spec, best)) if until else None)
    complaints = said_of(p, name)
    seed = task.spec.seed if wanted.seed is None else wanted.seed
    inputs = {
        "dataset": dataset.digest,
        "train": rows_digest(rows.train),
        "val": rows_digest(rows.val),
        "contract": kept.digest,
        "target": target.identity,
        "writer": writer.identity if writer else "",
        "complaints": digest(complaints),
        "code": source_digest(*MODULES),
        **_settled(task, wanted),
    }
    folder = p.settings.home / stages.PROMPTS / name / digest(inputs)[:16]
    wholly = inputs | {"budget": digest(asdict(wanted.budget))}  # with more to spend another prompt may be chosen: another test

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.task.contract.files import read_contract

        tree, began = Tree(), time.monotonic()
        contract = read_contract(kept.file("contract.json"))
        split = search_rows(task.output_schema, rows.train, rows.val, seed)
        account = Account(wanted.budget, folder / "calls.jsonl")
        cells = p.settings.home / "cells.db"
        with (
            EventLog(folder / "events.jsonl", tree.hear, on_event) as heard,
            Arena(task.spec, target, cells, contract=contract, account=account, on_event=heard) as arena,
            p.tracker.run(name, slug(wanted.target), "prompt search") as run,
        ):
            run.params({**asdict(wanted), "train_rows": len(split.train), "val_rows": len(split.val), "seed": seed})
            pen = KeptWriter(writer, arena.store, account) if writer else None
            ground = ground_of(p, task, contract, split.train, pen, complaints, target)
            found = find_prompt(
                arena,
                ground,
                split,
                Held(int(dataset.metadata["test"]), lambda: test_rows(p, dataset, name, digest(wholly)[:16])),
                strategy=strategy,
                proposers=parts.proposers(pen is not None),
                guards=guards,
                seed=seed,
                limits=wanted.limits,
                ledger=folder / "test-calls.jsonl",
            )
            facts = _write(out, task, target, found, tree, wanted)
            run.metrics({k: v for k, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)})
            run.tags({"verdict": found.ruling.label})
            run.file(out)
            return {**facts, "seconds": round(time.monotonic() - began, 1), "state": str(folder), "mlflow": run.where}

    return p.store.produce(stages.PROMPTS, f"{name}/{slug(wanted.target)}", wholly, build)


def newest(p: "Pipeline", name: str, wanted: Wanted) -> Artifact | None:
    """What was last searched for a target, where that was as `wanted` and for the task as it is; on whatever data."""
    found = p.store.current(stages.PROMPTS, f"{name}/{slug(wanted.target)}")
    inputs = _settled(p.task(name), wanted) | {"budget": digest(asdict(wanted.budget))}
    same = found and found.metadata["asked"] == wanted.target and inputs.items() <= found.inputs.items()
    return found if same else None


def _settled(task: "Task", wanted: Wanted) -> dict[str, str]:
    """Of the inputs of a search those that follow from the task's file and from what is wanted."""
    seed = task.spec.seed if wanted.seed is None else wanted.seed
    return {
        "spec": digest([answering_spec(task.spec), scoring_spec(task)], ordered=True),
        "strategy": f"{wanted.strategy} {seed} {wanted.until or ''}",
        "limits": digest(asdict(wanted.limits)),
    }


def test_rows(p: "Pipeline", dataset: Artifact, name: str, search: str = "") -> Any:
    """The test rows, whose opening is written down, once for a search that is killed and goes on."""
    from pp_assets.task.examples import open_test_split

    return open_test_split(dataset.path, p.ledger, name, "test of a searched prompt", search)


def said_of(p: "Pipeline", name: str) -> list[str]:
    """What people complain of, the weightiest topic first; nothing where feedback was never grouped."""
    from pp_assets.feedback.complaints import offers

    made = p.store.current(stages.COMPLAINTS, name)
    if made is None:
        return []
    topics = [one for one in read_json(made.file("topics.json")) if one["rating"] == "negative"]
    entries = {entry.id: entry for entry in p.inbox.entries(name)} if topics else {}
    return [offers(one, entries)["hint"] for one in topics if all(id in entries for id in one["ids"])]


def ground_of(
    p: "Pipeline", task: "Task", contract: "Contract", train: Any, pen: ChatModel | None, complaints: list[str], target: Target
) -> Ground:
    """What proposers may look at: `train` rows, and `pen`, which writes where there is one."""
    most = parts.longest_prompt(target)
    return Ground(
        task.spec,
        train,
        contract,
        pen,
        complaints,
        lambda texts: p.embedder(task.spec.encoder_model_id).embed(list(texts)),
        target.tokens,
        {} if most is None else {"max_prompt_tokens": most},
    )


def _write(out: Path, task: "Task", target: Target, found: Found, tree: Tree, wanted: Wanted) -> dict[str, Any]:
    from pp_assets.prompts.search.page import write_page

    best, spec = found.best, task.spec
    facts = {"candidate": best.id, "origin": tree.chain(best.id), "target": target.name, "asked": wanted.target}
    prompt = exported(spec, best.wording, **facts, verdict=found.ruling.label, model=target.behind(spec, best.wording, best.id).identity)
    write_prompt(out / "prompt.json", prompt)
    check(spec, out / "prompt.json", scored_digest(spec, best))
    for role, one in zip(("chosen", "own"), found.tested or ()):
        write_predictions(out / "answers" / f"{role}{SUFFIX}", rows_of(spec, one))
    told = summary(task, target, found, wanted)
    for file, value in (("verdict.json", told | {"ruling": found.ruling.plain}), ("tree.json", tree.plain)):
        (out / file).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    write_page(out, spec, told, found, tree, prompt)
    return told


def scored_digest(spec: Any, candidate: Candidate) -> str:
    """Of what the model read when the candidate was scored: its id is the beginning of it."""
    whole = candidate.wording.digest(spec)
    if not whole.startswith(candidate.id):
        raise UserError("is not what was scored", where=f"candidate {candidate.id}", how="search again")
    return whole


def summary(task: "Task", target: Target, found: Found, wanted: Wanted) -> dict[str, Any]:
    """What a search found, in plain values."""
    best, own = found.finalists[0], next(one for one in found.finalists if one.candidate.id == found.start.id)
    compared = found.ruling.comparison or {}
    return {
        "task": task.name,
        "target": target.name,
        "asked": wanted.target,
        "strategy": wanted.strategy,
        "verdict": found.ruling.label,
        "reasons": list(found.ruling.reasons),
        "released": found.ruling.label == "RELEASE",
        "tested": found.ruling.tested,
        "best": best.candidate.id,
        "source": best.candidate.origin.source,
        "start": found.start.id,
        "metric": task.spec.primary_metric.name,
        "val_rows": len(best.rows),
        "val_best": _mean(best),
        "val_start": _mean(own),
        **{f"test_{key}": compared.get(key) for key in ("n", "value", "other_value", "effect", "low", "high", "p_value")},
        "needed": found.ruling.needed,
        **found.spent,
        "test_calls": found.test_spent["calls"],
        "test_tokens": found.test_spent["tokens"],
        "test_cost_usd": found.test_spent["cost_usd"],
        "finalists": len(found.finalists),
    }


def _mean(one: Judged) -> float:
    return round(one.score, 6)
