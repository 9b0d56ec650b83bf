"""Topics of feedback: kept apart by rating, weighed by size, loss and age, tied to what the answers break."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pp_assets.feedback.complaints import HALF_LIFE, cross_table, feedback_topics, offers, rating_of
from pp_assets.feedback.inbox import Feedback, Inbox
from pp_assets.feedback_topics import broken_nodes
from pp_assets.task.contract.derive import derive
from pp_assets.task.spec import load_task
from pp_resources.settings import PROJECT_ROOT

NOW = datetime(2026, 11, 20, tzinfo=UTC)
WORDS = ("late", "urgent", "language")


def entry(seq: int, comment: str | None = None, *, rating: float | None = 0.0, days: float = 0, source: str = "agent", **more) -> Feedback:
    at = (NOW - timedelta(days=days)).isoformat()
    kind = "demonstration" if more.get("output") else "comment" if rating is None else "boolean"
    values = {"output": None, "answer": None, **more}
    text = values.pop("input_text", f"input {seq}")
    return Feedback(seq, f"f{seq}", "t", kind, text, values["output"], rating, comment, source, at, values["answer"])


def embed(texts) -> np.ndarray:
    """A direction for each of three words, and a little of the text's own."""
    rows = []
    for text in texts:
        rng = np.random.default_rng(sum(map(ord, text)))
        rows.append(np.r_[[4.0 * (word in text) for word in WORDS], 0.3 * rng.standard_normal(8)])
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def complaints() -> list[Feedback]:
    late = [entry(i, f"the parcel is late, number {i}", days=1) for i in range(30)]
    urgent = [entry(100 + i, f"was urgent case {i}", source="customer" if i % 3 else "agent") for i in range(24)]
    praise = [entry(200 + i, f"right language {i}", rating=1.0) for i in range(5)]
    return [*late, *urgent, *praise]


def test_topics_hold_every_entry_once_apart_by_rating_and_count_sources() -> None:
    found = feedback_topics(complaints(), embed)
    ids = [id for one in found for id in one["ids"]]
    assert sorted(ids) == sorted(e.id for e in complaints()) and len(ids) == len(set(ids))
    negative = [one for one in found if one["rating"] == "negative" and one["topic"] != "other"]
    assert [one["size"] >= 20 for one in negative] == [True, True] and {one["rating"] for one in found} == {"negative", "positive"}
    assert "late" in negative[0]["topic"] and "urgent" in negative[1]["topic"]
    assert set(negative[0]["per_source"]) == {"agent"} and negative[1]["per_source"]["customer"] > negative[1]["per_source"]["agent"] > 0
    assert negative[0]["examples"][0]["comment"].startswith("the parcel is late")


def test_weight_is_size_times_loss_times_age() -> None:
    old = feedback_topics([entry(1, "bad", days=HALF_LIFE), entry(2, "bad", days=HALF_LIFE), entry(3, "fine", rating=1.0)], embed)
    heaviest = old[0]
    assert (heaviest["size"], heaviest["loss"], heaviest["recency"], heaviest["weight"]) == (2, 1.0, 0.5, 1.0)
    (unrated,) = feedback_topics([entry(1, "hm", rating=None)], embed)
    assert (unrated["rating"], unrated["loss"]) == ("none", 0.5)
    assert feedback_topics([], embed) == []


@pytest.mark.parametrize(
    ("one", "said"),
    [(entry(1, rating=0.0), "negative"), (entry(1, rating=0.7), "positive"), (entry(1, "x", rating=None), "none")],
)
def test_what_counts_as_a_complaint(one: Feedback, said: str) -> None:
    assert rating_of(one) == said
    assert rating_of(entry(1, output='{"a":1}')) == "negative", "a correction says that the answer was wrong"


def test_ratings_without_words_are_grouped_by_their_inputs() -> None:
    rows = [entry(i, input_text=f"{WORDS[i % 2]} {i}") for i in range(40)]
    found = [one for one in feedback_topics(rows, embed) if one["topic"] != "other"]
    assert {one["by"] for one in found} == {"input"} and sorted(one["size"] for one in found) == [20, 20]


def test_answers_are_scored_by_the_contract_and_make_the_cross_table() -> None:
    spec = load_task("support-triage", PROJECT_ROOT / "tasks").spec
    label = {"category": "delivery", "priority": "low", "wants_human": False, "order_id": None, "products": []}
    right, wrong = json.dumps(label), json.dumps({**label, "category": "nobody"})
    entries = [
        entry(1, "wrong team", answer=wrong, output=right),
        entry(2, "wrong team", answer="no json at all"),
        entry(3, "wrong team"),
        entry(4, "all good", rating=1.0, answer=right, output=right),
    ]
    broken = broken_nodes(derive(spec), entries)
    assert set(broken) == {"f1", "f2", "f4"} and broken["f4"] == []
    assert any("category" in node for node in broken["f1"]) and len(broken["f2"]) >= 1
    topics = feedback_topics(entries[:3], embed, broken)
    nodes, counts = cross_table(topics)
    assert nodes and sum(map(sum, counts)) == len(broken["f1"]) + len(broken["f2"])
    assert topics[0]["answered"] + sum(t["answered"] for t in topics[1:]) == 2


def test_a_topic_becomes_a_question_seeds_a_slice_and_a_hint() -> None:
    entries = [entry(1, "not urgent", output='{"a": 1}'), entry(2, "not urgent"), entry(3, "not urgent", input_text="input 2")]
    (topic,) = feedback_topics(entries, embed)
    made = offers(topic, {e.id: e for e in entries})
    assert made["dimension"]["kind"] == "judge" and "not urgent" in made["dimension"]["question"]
    assert {"input_text": "input 1", "output_json": {"a": 1}} in made["seeds"] and len(made["seeds"]) == 2
    assert sorted(made["slice"]["inputs"]) == ["input 1", "input 2"]
    assert made["hint"].startswith("3 times: not urgent")


def test_an_inbox_of_before_there_were_answers_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "feedback" / "inbox.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as db:
        db.execute(
            "CREATE TABLE feedback (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL, "
            "input_text TEXT NOT NULL, output TEXT, rating REAL, comment TEXT, source TEXT NOT NULL, at TEXT NOT NULL, "
            "content TEXT NOT NULL, UNIQUE (task, id))"
        )
        db.execute("INSERT INTO feedback VALUES (1,'x','t','comment','text',NULL,NULL,'why','cli','2026-11-01T00:00:00+00:00','c')")
    (old,) = Inbox(tmp_path).entries("t")
    assert (old.comment, old.answer) == ("why", None) and Inbox(tmp_path).counts() == {"t": 1}
