"""What the dashboard of a gateway shows of the task "toy": ten days of rows, decisions, and artifacts of complaints and of drift."""

import json

import numpy as np
from gateway_place import Place

from pp_assets.drifts import windows
from pp_assets.feedback.complaints import feedback_topics
from pp_assets.feedback.drift import known
from pp_assets.feedback.inbox import Feedback as Entry
from pp_assets.feedback.inputs import Met
from pp_assets.pipeline import COMPLAINTS, DRIFTS
from pp_resources.artifacts import ArtifactStore
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import open_store
from pp_resources.store.rows import Feedback, Inference
from pp_resources.store.work import Decision, QueueItem

DAY = 86_400 * MICRO


def rows(where: Place) -> None:
    """Two variants that answer and one whose answers nobody sees: 200 requests, 100 of them rated, 73 of these as right."""
    start, made = now() - 9 * DAY, list[object]()
    for n in range(200):
        at = start + n * DAY // 25
        one = Inference(
            id=f"i{n}", task="toy", variant="ab"[n % 2], episode=f"e{n}", input="x", output="{}", latency_ms=4.0 + n % 50, at=at
        )
        made.append(one)
        if n % 2 == 0:
            made.append(Feedback(kind="boolean", metric="right", inference=one.id, value=int(n % 200 < 146), at=at))
    made += [Inference(task="toy", variant="copy", input="x", output="{}", shadow=True, latency_ms=4.0, at=start + n) for n in range(7)]
    made += [QueueItem(inference=f"i{n}", task="toy", reason="<b>unsure</b>", at=now()) for n in range(3)]
    for n in range(4):
        weights = {"a": 0.5 + n / 10, "b": 0.5 - n / 10}
        made.append(Decision(task="toy", kind="weights", data={"weights": weights, "reason": f"reason {n}"}, at=start + n * DAY))
    made.append(Decision(task="toy", kind="rollback", data={"variant": "c", "reason": "c was worse than a"}))
    for result in open_store(where.settings.home).write_many(made):
        assert not isinstance(result, Exception), result


def artifacts(where: Place) -> None:
    """What `pp feedback clusters` and `pp drift` leave, made by the functions that make it."""
    chance, store = np.random.default_rng(0), ArtifactStore(where.settings.home)
    vectors = chance.normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    entry = {
        "task": "toy",
        "kind": "rating",
        "rating": 0.0,
        "output": None,
        "answer": None,
        "source": "web",
        "at": "2026-11-01T00:00:00+00:00",
    }
    entries = [Entry(seq=n, id=f"f{n}", input_text=f"text {n}", comment=f"far too late {n}", **entry) for n in range(30)]
    topics = feedback_topics(entries, lambda texts: vectors[: len(texts)])
    like = known(vectors[:200], [str(n) for n in range(200)])
    assert like is not None
    met = [Met(f"m{n}", f"input {n}", None) for n in range(200)]
    found = windows(like, [str(n) for n in range(200)], met, vectors[200:])

    def writing(name: str, content: object, **metadata: object):
        return lambda out: (out / name).write_text(json.dumps(content)) and metadata

    store.produce(COMPLAINTS, "toy", {"n": "1"}, writing("topics.json", topics, entries=30))
    store.produce(DRIFTS, "toy", {"n": "1"}, writing("drift.json", found))
