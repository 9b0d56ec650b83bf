"""The topics of a task for whoever asks: the table with scores, a map of any file of texts, the topics of new texts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.pipeline import CLUSTERS, read_json
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.data.clusters.model import Clusters
    from pp_assets.pipeline import Pipeline

FIELDS = ("input_text", "text", "input")  # where a line of a file has its text
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
BLOCK = 1024


def topics_of(p: "Pipeline", name: str, variant: str | None = None) -> dict[str, Any]:
    """The current topics: table, quality of the names, history, where the map is; with a variant (or baseline) the share of its test
    answers that are right, by topic, with interval. Stored answers are read, no test split is opened."""
    from pp_assets.data.clusters.model import load

    made = p.current(CLUSTERS, name)
    found, told = load(made.path), read_json(made.file("topics.json"))
    for entry in told["topics"] if variant else ():
        entry["score"] = None
    if variant:
        scores = _scores(p, name, variant)
        for entry in told["topics"]:
            entry["score"] = scores.get(entry["topic"])
    rows = {"rows": len(found.item_ids), "outliers": found.outliers, "map": str(made.file("map.html")), "variant": variant}
    return {"task": name, **rows, **told, "history": [dict(one) for one in found.history]}


def assigned(p: "Pipeline", name: str, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """For each line of text its topic, and the cosine to the topic's middle, without refit; topic -1 where it lies outside of all."""
    from pp_assets.data.clusters.model import load
    from pp_resources.models.embedder import Embedder

    found = load(p.current(CLUSTERS, name).path)
    # Lines of any number, each met once: their vectors are not kept.
    embedder = Embedder.of(p.task(name).spec.encoder_model_id, p.settings.threads)
    batch: list[str] = []
    for line in _and_last(lines):
        if line is not None:
            # Bytes that are no UTF-8 cannot be written again: they are shown as such.
            batch.append(line.rstrip("\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        if batch and (line is None or len(batch) == BLOCK):
            topics, cosines = found.assign(embedder.embed(batch))
            for text, topic, cosine in zip(batch, topics.tolist(), cosines.tolist()):
                name_of = "unassigned" if topic < 0 else found.name(topic)
                yield {"topic": topic, "name": name_of, "similarity": round(cosine, 4), "input_text": text}
            batch = []


def map_file(file: Path, out: Path, *, encoder: str = DEFAULT_ENCODER, seed: int = 0, work: Path) -> dict[str, Any]:
    """Topics of any file of texts (JSON lines with `input_text`, `text` or `input`; or plain text, a line each), and their map as a page.
    Vectors lie in `work` while it runs."""
    from pp_assets.data.clusters.layout import positions
    from pp_assets.data.clusters.page import write_map

    texts, items, fields = read_texts(file)
    found, vectors, told = fit_texts(texts, items, encoder=encoder, work=work)
    write_map(out, found, positions(vectors, items, seed), texts, title=f"Topics of {file.name}", fields=fields)
    return {"file": str(file), "map": str(out), **told, "history": []}


def fit_texts(
    texts: Sequence[str], items: Sequence[str], *, encoder: str = DEFAULT_ENCODER, work: Path
) -> "tuple[Clusters, np.ndarray, dict[str, Any]]":
    """Topics of texts with their ids: (clusters, vectors, {rows, outliers, topics: the table, names: how well they tell their members})."""
    from pp_assets.data.clusters.fit import fit
    from pp_assets.data.clusters.naming import name_quality, name_topics
    from pp_assets.data.clusters.tables import topic_table
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder, write

    embedder = Embedder(find_base(encoder))
    vectors = write(embedder.embed, texts, work / "vectors.npy", dtype="float16")
    found = name_topics(fit(vectors, items), texts)
    quality = name_quality(found, vectors, embedder.embed)
    table = topic_table(found, texts, vectors, quality=quality)
    names = {key: value for key, value in quality.items() if key != "topics"}
    return found, vectors, {"rows": len(texts), "outliers": found.outliers, "topics": table, "names": names}


def read_texts(file: Path) -> tuple[list[str], list[str], dict[str, list[Any]]]:
    """(texts, an id a line that rests on its content, the fields of `output_json` by row). Blank lines are left out.

    Raises UserError naming the line that is no JSON or has no text."""
    from pp_resources.fingerprint import digest

    if not file.is_file():
        raise UserError("no such file", where=str(file), how="give a file of JSON lines, or of texts")
    texts: list[str] = []
    outputs: list[dict[str, Any]] = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                text, output = _text_of(line, f"{file}:{number}")
                texts.append(text)
                outputs.append(output)
    if not texts:
        raise UserError("holds no text", where=str(file), how="give a text a line")
    seen: dict[str, int] = {}
    items = []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        items.append(digest([text, seen[text]])[:16])
    return texts, items, {name: [o.get(name) for o in outputs] for name in sorted({name for o in outputs for name in o})}


def _text_of(line: str, where: str) -> tuple[str, dict[str, Any]]:
    if not line.lstrip().startswith("{"):
        return line.rstrip("\n"), {}
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(
            f"not JSON ({error})", where=where, how="write one object a line, or texts that do not begin with a brace"
        ) from None
    text = next((row[name] for name in FIELDS if isinstance(row.get(name), str)), None)
    if text is None:
        raise UserError("no text in this line", where=where, how=f"give it as one of {', '.join(FIELDS)}")
    output = row.get("output_json")
    return text, output if isinstance(output, dict) else {}


def _scores(p: "Pipeline", name: str, variant: str) -> dict[int, dict[str, Any]]:
    from pp_assets.data.clusters.model import load
    from pp_assets.data.clusters.tables import scores_by_topic
    from pp_assets.evaluation.scoring import score_rows
    from pp_assets.stored_answers import find_answers

    scored = score_rows(p.task(name).spec, find_answers(p, f"{name}/{variant}").rows)
    vectors = p.embedder(p.task(name).spec.encoder_model_id).embed([row.input_text for row in scored.rows])
    topics, _ = load(p.current(CLUSTERS, name).path).assign(vectors)
    return scores_by_topic(np.asarray(topics), scored.exact, [row.group for row in scored.rows])


def _and_last(lines: Iterator[str] | Sequence[str]) -> Iterator[str | None]:
    yield from lines
    yield None
