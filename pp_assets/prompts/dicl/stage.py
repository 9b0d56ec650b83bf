"""Growth of a task's examples, with all that it needs: kept training rows, feedback, contract, held-out rows, vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.data.leakage import HeldOut, find_leaks, held_out
from pp_assets.prompts.dicl.candidates import Candidate, of_feedback, of_rows
from pp_assets.prompts.dicl.gate import LEAK, Findings, Rules, judge, label_of
from pp_assets.prompts.dicl.growth import Making, Plan, all_candidates, by_people, key_of, plan
from pp_assets.prompts.dicl.shelf import Shelf
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_stream
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_resources.fingerprint import digest
from pp_resources.store.examples import examples_with_reason, subjects_of
from pp_resources.store.ids import now
from pp_resources.store.read_feedback import feedback_since
from pp_resources.store.read_work import decisions_on
from pp_resources.store.work import Decision

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

DECISION = "dicl-growth"
Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Ground:
    """What growth stands on: the training rows that may be learnt from, the rows that may not be (`held`), the contract that scores, the
    encoder and its name."""

    task: Task
    rows: Sequence[Example]
    held: HeldOut
    contract: Contract
    embed: Embed
    encoder: str


def rules_of(task: Task, **more: Any) -> Rules:
    """The task's own limits: what people wrote is held against that of written rows, answers of models against that of generated ones.
    `more`: other fields of Rules."""
    inputs, generation = task.spec.inputs, task.spec.generation
    by_model = max(inputs.generated.min_contract, generation.min_contract_score)
    return Rules(inputs.written.min_contract, by_model, generation.similarity_threshold, **more)


def grow(p: "Pipeline", name: str, **more: Any) -> dict[str, Any]:
    """Let in what today's evidence allows and take out what it does not; what was done, in numbers. Once more changes nothing. `more`:
    `per_label`, `total` and `metrics` of Rules."""
    from pp_assets import pipeline as stages
    from pp_assets.task.contract.files import read_contract
    from pp_resources.models.embedder import Embedder

    task, encoder = p.task(name), p.task(name).spec.encoder_model_id
    dataset, rows = p.current(stages.DATASETS, name), p.kept_rows(name).train
    contract = read_contract(p.current(stages.CONTRACTS, name).file("contract.json"))
    embed = Embedder.of(encoder, p.settings.threads).embed
    ground = Ground(task, rows, held_out(dataset.path), contract, embed, encoder_name(encoder))
    return grown(Shelf(p.inbox.store, name), ground, rules_of(task, **more))


def encoder_name(model_id: str) -> str:
    """What vectors are known by: other weights under the same name make other vectors."""
    from pp_assets.pipeline import base_digest

    return f"{model_id}@{base_digest(model_id)[:12]}"


def grown(shelf: Shelf, ground: Ground, rules: Rules) -> dict[str, Any]:
    """The same on what is given. The run is a decision in the store where it changed something or looked at other held-out rows."""
    at = now()
    schema, name = ground.task.output_schema, ground.task.name
    said = feedback_since(shelf.store, name)
    subjects = subjects_of(shelf.store, sorted({one.inference for one in said if one.inference}))
    evidence = of_feedback(schema, said, subjects, rules.metrics)
    known = shelf.all()
    people = by_people(known)
    candidates = all_candidates(known, of_rows(schema, ground.rows), evidence)
    vectors = _vectors(ground, candidates, {key_of(one): one.vector for one in known if one.encoder == ground.encoder})
    held = digest(sorted(ground.held.texts))[:8]
    sticky = f"{LEAK} ({held})"
    looked = {row["data"]["held"] for row in decisions_on(shelf.store, name, kind=DECISION, limit=1)} == {held}
    making = Making(
        name,
        ground.encoder,
        at,
        {one.key: row.tobytes() for one, row in zip(candidates, vectors, strict=True)},
        {one.key: label_of(schema, one.output) for one in candidates},
        _scores(ground.contract, candidates),
    )
    checked = {one.id for one in known} if looked else set[str]()
    caught = examples_with_reason(shelf.store, name, sticky)
    fresh = [i for i, one in enumerate(candidates) if making.id_of(one.key) not in checked]
    leaking = {one.key for one in candidates if making.id_of(one.key) in caught} | _leaking(ground, candidates, vectors, fresh)
    found = Findings(making.scores, leaking, evidence.bad, people.forced, people.blocked)
    reasons = judge(schema, candidates, vectors, found, rules)
    reasons = {key: sticky if reason == LEAK else reason for key, reason in reasons.items()}
    made = plan(known, candidates, reasons, making, {sticky})
    told = _told(made, held)
    if not made.empty or not looked:
        shelf.write(made, Decision(task=name, kind=DECISION, data=told))
    return {"task": name, **told}


def _told(made: Plan, held: str) -> dict[str, Any]:
    states = [change.state for _, change in made.added]
    back = sum(change.state == "active" for change in made.changed)
    return {
        "candidates": made.candidates,
        "active": made.active,
        "by_origin": dict(made.by_origin),
        "added": states.count("active"),
        "refused": states.count("removed"),
        "back": back,
        "taken_out": len(made.changed) - back,
        "reasons": dict(made.reasons),
        "held": held,
    }


def _vectors(ground: Ground, candidates: Sequence[Candidate], known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Unit vectors of all candidates; only those that the store does not hold are made."""
    new = sorted({one.input_text for one in candidates if one.key not in known})
    made = dict(zip(new, ground.embed(new))) if new else {}
    rows = [known[one.key] if one.key in known else made[one.input_text] for one in candidates]
    return np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)


def _leaking(ground: Ground, candidates: Sequence[Candidate], vectors: np.ndarray, places: Sequence[int]) -> set[str]:
    """Keys of the candidates at these places that are held-out items, by the one rule for leaks."""
    if not places or not ground.held.texts:
        return set()
    texts, held = [candidates[i].input_text for i in places], ground.held.texts
    found = find_leaks(texts, held, (vectors[list(places)], ground.embed(held)), ground.embed)
    return {candidates[places[leak.place]].key for leak in found}


def _scores(contract: Contract, candidates: Sequence[Candidate]) -> dict[str, float | None]:
    """Contract scores; nodes that ask a model or compare with a label have no say."""
    rows = (Row(one.input_text, one.output_text) for one in candidates)
    totals = [float(total) for part in score_stream(contract, rows) for total in part.total]
    return {one.key: None if np.isnan(total) else round(total, 4) for one, total in zip(candidates, totals, strict=True)}
