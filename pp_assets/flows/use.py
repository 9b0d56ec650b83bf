"""Flows about use: what `pp feedback clusters`, `pp tune` and `pp predict` do."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.flows.requests import ClusterFeedback, RunInference, Said, Tune, TunePrompt
from pp_assets.flows.work import Work
from pp_assets.pipeline import read_json
from pp_resources.errors import UserError
from pp_resources.store.ids import iso, now

if TYPE_CHECKING:
    from pp_assets.feedback.inbox import Feedback
    from pp_assets.prompts.optimising import Wanted
    from pp_assets.training.search import Trial

TRIALS, MANY = 20, 1000  # where neither trials nor minutes are given; where minutes alone are
RATINGS = {"positive": 1.0, "negative": 0.0, None: None}


def cluster_feedback(work: Work, request: ClusterFeedback) -> Mapping[str, Any]:
    """Rows: topics, the one that matters most first. {entries, topics}: how many."""
    if request.feedbacks is None:
        work.runner.seeds(request.task, contract=True)
        work.runner.feedback_clusters(request.task)
        made = work.pipeline.current(stages.COMPLAINTS, request.task)
        topics, entries = read_json(made.file("topics.json")), int(made.metadata["entries"])
    else:
        topics, entries = _topics_of(work, request), len(request.feedbacks)
    for topic in topics:
        work.report.row(topic)
    return {"entries": entries, "topics": len(topics)}


def tune(work: Work, request: Tune) -> Mapping[str, Any]:
    """Rows: trials. The best of them against the recipe as it is, on validation rows, corrected for the choice."""
    from pp_assets.training.recipes import get_recipe
    from pp_assets.training.search import Budget

    get_recipe(request.variant)
    work.runner.training_data(request.task)
    budget = Budget(request.trials or (TRIALS if request.minutes is None else MANY), request.minutes)

    def heard(trial: "Trial") -> None:
        work.report.row(asdict(trial))

    found = work.pipeline.tuning(request.task, request.variant, budget, heard)
    return {name: value for name, value in found.metadata.items() if name != "mlflow"}


def tune_prompt(work: Work, request: TunePrompt) -> Mapping[str, Any]:
    """Rows: events of the search, as they happen. The verdict on the prompt that was chosen, with its numbers and the prompt itself."""
    from pp_assets.prompts.search.export import read_prompt

    wanted = check_prompt(work, request)
    work.runner.training_data(request.task)
    found = work.pipeline.prompt(request.task, wanted, work.report.row)
    told = {name: value for name, value in found.metadata.items() if name not in ("mlflow", "state")}
    return {**told, "prompt": read_prompt(found.file("prompt.json"))}


def check_prompt(work: Work, request: TunePrompt) -> "Wanted":
    """What is asked for. Raises UserError for a model or a stop rule that cannot be."""
    from pp_assets.prompts.optimising import Wanted, check_wanted

    wanted = Wanted.of(request.model_dump(exclude={"task"}))
    check_wanted(work.pipeline, request.task, wanted)
    return wanted


def run_inference(work: Work, request: RunInference) -> Mapping[str, Any]:
    """Rows {index, output, valid, confidence, fields, latency_ms}, `error` where there is one. {package, rows, valid}."""
    from pp_assets.packaging.predict import BATCH, open_package
    from pp_resources.progress import steps

    made = package_of(work, request)
    package = open_package(made.path, threads=work.settings.threads)
    texts, valid = request.texts, 0
    with steps("batches", -(-len(texts) // BATCH)) as advance:
        for start in range(0, len(texts), BATCH):
            for place, record in enumerate(package.answer(texts[start : start + BATCH]), start):
                valid += record["valid"]
                work.report.row({"index": place} | {name: value for name, value in record.items() if name != "input_text"})
            advance(f"{min(start + BATCH, len(texts))} texts")
    return {"package": made.key, "digest": made.digest, "rows": len(texts), "valid": valid}


def package_of(work: Work, request: RunInference) -> Any:
    """The package of a variant, of the champion, or the first one. Raises UserError where there is none."""
    from pp_assets.champion import read_champion

    artifacts, task = work.pipeline.store, work.pipeline.task(request.task)
    if request.variant is not None:
        return artifacts.require(stages.PACKAGES, f"{task.name}/{request.variant}", f"run 'pp run {task.name}'")
    there = [key for key in artifacts.keys(stages.PACKAGES) if key.startswith(f"{task.name}/")]
    stands = read_champion(work.settings.home, task.name)
    key = f"{task.name}/{stands.variant}" if stands else next(iter(there), f"{task.name}/")
    if key not in there:
        raise UserError("has no package", where=f"task {task.name}", how=f"run 'pp run {task.name}'")
    return artifacts.require(stages.PACKAGES, key, f"run 'pp run {task.name}'")


def _topics_of(work: Work, request: ClusterFeedback) -> list[dict[str, Any]]:
    from pp_assets.contracts import known_rows
    from pp_assets.drifts import embed
    from pp_assets.feedback.complaints import feedback_topics
    from pp_assets.feedback_topics import broken_nodes
    from pp_assets.task.contract.files import load_contract

    p, name = work.pipeline, request.task
    contract = load_contract(p.task(name), known_rows(p, name))
    at = iso(now())
    entries = [_entry(place, name, one, at) for place, one in enumerate(request.feedbacks or ())]
    twice = len({entry.id for entry in entries}) < len(entries)
    if twice:
        raise UserError("identifiers stand twice", where="feedbacks", how="give each entry one of its own")
    return feedback_topics(entries, lambda texts: embed(p, name, texts), broken_nodes(contract, entries))


def _entry(place: int, task: str, said: Said, at: str) -> "Feedback":
    from pp_assets.feedback.inbox import Feedback

    answer = said.output if isinstance(said.output, str | None) else json.dumps(said.output, ensure_ascii=False)
    kind: Any = "boolean" if said.rating else "comment"
    return Feedback(
        place, said.identifier, task, kind, said.input_text, None, RATINGS[said.rating], said.comment or None, said.source, at, answer
    )
