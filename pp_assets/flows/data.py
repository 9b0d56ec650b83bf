"""Flows about data: what `pp data`, `pp generate` and `pp clusters` do."""

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from pp_assets import pipeline as stages
from pp_assets.flows.requests import ClusterInputs, EvaluateInputs, GenerateFromSeeds, GenerateSeeds
from pp_assets.flows.work import Work
from pp_assets.task.examples import Example


def generate_seeds(work: Work, request: GenerateSeeds) -> Mapping[str, Any]:
    """Rows {input_text, output}: the task's training rows, or what a topic of feedback offers. {rows, …}: what became of the lines."""
    if request.topic is not None:
        return _seeds_of_topic(work, request)
    work.runner.seeds(request.task)
    from pp_assets.task.examples import read_split

    made = work.pipeline.current(stages.DATASETS, request.task)
    found = read_split(made.path, "train")
    _tell(work, found[: request.num_inputs])
    numbers = {name: value for name, value in made.metadata.items() if isinstance(value, int | float | str)}
    return {**numbers, "train": len(found), "rows": min(len(found), request.num_inputs)}


def generate_from_seeds(work: Work, request: GenerateFromSeeds) -> Mapping[str, Any]:
    """Rows {input_text, output, method, parents}; the yields of each filter, coverage and diversity."""
    from pp_assets.data.rows import read_generated
    from pp_assets.pipeline import read_json

    if not request.options:
        work.runner.generated_data(request.task)
        folder = work.pipeline.current(stages.GENERATED, request.task).path
        return _tell_generated(work, request, read_generated(folder / "generated.parquet"), read_json(folder / "generation.json"))
    work.runner.seeds(request.task, contract=True)
    with _work_folder(work) as out:
        _generate_otherwise(work, request, out)
        return _tell_generated(work, request, read_generated(out / "generated.parquet"), read_json(out / "generation.json"))


def cluster_inputs(work: Work, request: ClusterInputs) -> Mapping[str, Any]:
    """The table of topics; with `inputs` rows {identifier, topic, name, similarity}, topic -1 outside of all."""
    from pp_assets.topics import assigned, fit_texts, topics_of

    asked = request.inputs or []
    if request.task is None:
        with _work_folder(work) as folder:
            found, _, told = fit_texts([one.input_text for one in asked], [one.identifier for one in asked], work=folder)
        for identifier, topic, cosine in zip(found.item_ids, found.labels.tolist(), found.similarity.tolist(), strict=True):
            work.report.row({"identifier": identifier, "topic": topic, "name": found.name(topic), "similarity": round(cosine, 4)})
        return told
    work.runner.seeds(request.task, clusters=True)
    for one, record in zip(asked, assigned(work.pipeline, request.task, iter([one.input_text for one in asked])), strict=True):
        work.report.row({"identifier": one.identifier, **{name: record[name] for name in ("topic", "name", "similarity")}})
    told = topics_of(work.pipeline, request.task)
    return {name: value for name, value in told.items() if name not in ("map", "variant")}


def evaluate_inputs(work: Work, request: EvaluateInputs) -> Mapping[str, Any]:
    """Rows with the verdict on each, those to be filtered out first; how many are kept, and why others are not."""
    from pp_assets.datasets import read_inputs

    work.runner.training_data(request.task, choose=False)
    rows = [row for row in read_inputs(work.pipeline, request.task) if request.kind in (None, row["kind"])]
    rows.sort(key=lambda row: (-(row["filter_score"] or 0.0), row["item_id"]))
    for row in rows[: request.num_inputs]:
        work.report.row(row)
    known = work.pipeline.current(stages.INPUTS, request.task).metadata
    told = {name: known[name] for name in ("kept_written", "kept_generated", "dropped", "dropped_by_reason")}
    return {**told, "rows": min(len(rows), request.num_inputs)}


def _seeds_of_topic(work: Work, request: GenerateSeeds) -> Mapping[str, Any]:
    from pp_assets.feedback_topics import write_offer
    from pp_assets.pipeline import read_json
    from pp_assets.task.contract.marks import read_lines

    work.runner.seeds(request.task, contract=True)
    work.runner.feedback_clusters(request.task)
    with _work_folder(work) as folder:
        written = write_offer(work.pipeline, request.task, str(request.topic), "seeds", folder / "seeds.jsonl")
        for line in islice(read_lines(folder / "seeds.jsonl"), request.num_inputs):
            work.report.row({"input_text": line.value["input_text"], "output": line.value.get("output_json")})
    topics = read_json(work.pipeline.current(stages.COMPLAINTS, request.task).file("topics.json"))
    return {"topic": request.topic, "rows": min(written["lines"], request.num_inputs), "topics": len(topics)}


def _generate_otherwise(work: Work, request: GenerateFromSeeds, out: Path) -> None:
    """With other settings than the task's, beside what is in force."""
    from dataclasses import replace

    from pp_assets.datasets import generate_into
    from pp_assets.task.spec import parse_spec

    p = work.pipeline
    task = p.task(request.task)
    plain = task.spec.model_dump(mode="json")
    spec = parse_spec(plain | {"generation": plain["generation"] | request.options}, "request")
    dataset, kept = p.current(stages.DATASETS, task.name), p.current(stages.CONTRACTS, task.name)
    generate_into(p, replace(task, spec=spec), dataset, kept, out, p.decisions.of(task.name))


def _tell_generated(work: Work, request: GenerateFromSeeds, rows: list[Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    for made in rows[: request.num_inputs]:
        told = {"input_text": made.example.input_text, "output": made.example.output}
        work.report.row({**told, "method": made.method, "parents": list(made.parents)})
    wanted = ("written", "generated", "yields", "by_method", "skipped", "coverage", "diversity")
    return {name: document[name] for name in wanted} | {"rows": min(len(rows), request.num_inputs)}


def _tell(work: Work, rows: Iterable[Example]) -> None:
    for row in rows:
        work.report.row({"input_text": row.input_text, "output": row.output})


@contextmanager
def _work_folder(work: Work) -> Any:
    folder = work.settings.home / "work"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="job-", dir=folder) as made:
        yield Path(made)
