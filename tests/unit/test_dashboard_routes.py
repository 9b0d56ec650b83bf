"""The dashboard's routes: readings that are shared, old figures told as such, keys, the stream."""

import asyncio
import json
import threading
import urllib.request
from pathlib import Path

import pytest
from gateway_place import Place, ask, running

from pp_gateway.dashboard.snapshots import Snapshots
from pp_gateway.serve.keys import new_key
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import open_store
from pp_resources.store.rows import Feedback, Inference


def test_one_reading_serves_all_and_the_last_answer_outlives_an_outage() -> None:
    reads, away, slow = [], False, threading.Event()

    def read() -> dict[str, int]:
        reads.append(1)
        if away:
            raise StoreUnavailable("gone", where="store", how="wait")
        return {"n": len(reads)}

    async def use() -> None:
        nonlocal away
        snapshots = Snapshots(fresh=0.05, patience=0.2, retry=0.0)
        answers = await asyncio.gather(*(snapshots.get("a", read) for _ in range(20)))
        assert answers == [{"n": 1, "stale": None}] * 20
        away = True
        await asyncio.sleep(0.06)
        old = await snapshots.get("a", read)
        assert old["n"] == 1 and "gone" in old["stale"]["why"] and old["stale"]["since"] > 0
        with pytest.raises(StoreUnavailable):
            await snapshots.get("b", read)
        away = False
        assert (await snapshots.get("a", read))["stale"] is None
        await asyncio.sleep(0.06)
        hung = await snapshots.get("a", lambda: {"n": 99} if slow.wait(5) else {})
        assert hung["n"] < 99 and hung["stale"]["why"] == "the store does not answer"
        slow.set()

    asyncio.run(use())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A gateway with a remote model that nobody asks, rows in its store, and a key."""
    where = Place(tmp_path_factory.mktemp("dashboard"))
    where.settings.tasks.mkdir(parents=True)
    key, kept = new_key()
    model = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    where.settings.home.mkdir()
    (where.settings.home / "gateway.yaml").write_text(
        json.dumps({"models": {"t": model}, "keys": {"ann": kept.model_dump(exclude_none=True)}})
    )
    store = open_store(where.settings.home)
    rows = [Inference(id=f"i{n}", task="t", variant="m", input="x", output="{}", episode=f"e{n}", latency_ms=9.0) for n in range(6)]
    store.write_many([*rows, *(Feedback(kind="boolean", metric="right", inference=row.id, value=n % 2) for n, row in enumerate(rows))])
    with running(where) as made:
        made.key = {"Authorization": f"Bearer {key}"}
        yield made


def test_the_page_is_free_and_holds_nothing_and_figures_want_a_key(server) -> None:
    page = ask(server.url, "/")
    assert page.status == 200 and b"/pages/dashboard.js" in page.body and b"i0" not in page.body
    assert "default-src 'none'" in page.headers["Content-Security-Policy"] and "'unsafe" not in page.headers["Content-Security-Policy"]
    for name in ("dashboard.js", "panels.js", "charts.js", "draw.js", "dashboard.css"):
        assert ask(server.url, f"/pages/{name}").status == 200
    assert [ask(server.url, path).status for path in ("/api/overview", "/api/live")] == [401, 401]
    found = ask(server.url, "/api/overview", **server.key)
    assert found.status == 200 and found.headers["Cache-Control"] == "no-store"
    told = found.json
    assert (told["task"], told["tasks"], told["metric"], told["stale"], told["empty"]) == ("t", ["t"], "right", None, False)
    assert told["now"]["requests"] == told["now"]["sessions"] == 6 and told["now"]["quality"]["value"] == 0.5
    assert told["log"]["store"] is True and told["log"]["journal_bytes"] == 0
    assert (told["complaints"], told["drift"], told["next_step"], told["flywheel"]) == (None, None, None, [])


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("task=nope", 404, "unknown_task"), ("range=2d", 400, "unknown_range"), ("ranje=7d", 400, "unknown_parameter")],
)
def test_a_question_that_means_nothing_is_refused(server, query: str, status: int, words: str) -> None:
    for path in ("/api/overview", "/api/live")[: 1 if status == 404 else 2]:
        answer = ask(server.url, f"{path}?{query}", **server.key)
        assert (answer.status, answer.json["error"]["code"]) == (status, words)


def test_a_stream_brings_what_changes_and_ends_with_the_server(server) -> None:
    request = urllib.request.Request(f"{server.url}/api/live?range=1h", headers=server.key)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        first = json.loads(answer.readline().removeprefix(b"data: "))
        assert first["overview"]["whole"]["requests"] == 6
        open_store(server.place.settings.home).write(Inference(task="t", variant="m", input="x", output="{}", latency_ms=9.0))
        answer.readline()
        while "now" not in (message := json.loads(answer.readline().removeprefix(b"data: "))) or message["now"]["requests"] < 7:
            answer.readline()
        loop = server.gateway.logbook._answers._loop
        loop.call_soon_threadsafe(server.gateway.ending.set)
        assert answer.read() is not None
        loop.call_soon_threadsafe(server.gateway.ending.clear)


def test_a_store_that_is_gone_leaves_old_figures_and_says_so(server) -> None:
    assert ask(server.url, "/api/overview?range=24h", **server.key).json["stale"] is None
    file = server.place.settings.home / "store" / "store.db"
    file.rename(file.with_suffix(".away"))
    try:
        deadline = now() + 10 * MICRO
        while (told := ask(server.url, "/api/overview?range=24h", **server.key).json)["stale"] is None:
            assert now() < deadline
        assert told["whole"]["requests"] >= 6 and "file is gone" in told["stale"]["why"]
        never = ask(server.url, "/api/overview?range=90d", **server.key)
        assert (never.status, never.json["error"]["code"]) == (503, "store_away") and "retry-after" in never.headers
    finally:
        file.with_suffix(".away").rename(file)
    while ask(server.url, "/api/overview?range=24h", **server.key).json["stale"]:
        assert now() < deadline + 20 * MICRO


def test_an_installation_without_anything_says_so(tmp_path: Path) -> None:
    where = Place(tmp_path)
    where.settings.tasks.mkdir(parents=True)
    where.settings.home.mkdir()
    (where.settings.home / "gateway.yaml").write_text("{}")
    with running(where) as made:
        told = ask(made.url, "/api/overview").json
        assert told["empty"] and told["tasks"] == [] and told["task"] == ""
        model = {"url": "http://127.0.0.1:9/v1", "model": "m"}
        (where.settings.home / "gateway.yaml").write_text(json.dumps({"models": {"t": model}}))
        assert ask(made.url, "/reload", {}).status == 200
        told = ask(made.url, "/api/overview?range=7d").json
        assert (told["empty"], told["task"], told["served"]) == (True, "t", ["t"]), "served, and nobody has asked"
        assert not (where.settings.home / "store" / "store.db").exists(), "looking makes no store"
