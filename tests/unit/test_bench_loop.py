"""The simulated shop of `make demo-loop`: its models, what it tells, and the daemon's part."""

import json
import urllib.request
from pathlib import Path

import pytest

from bench.loop import remote
from bench.loop.story import Story, Turn
from pp_assets.task.spec import load_task
from pp_resources.settings import PROJECT_ROOT, Settings
from pp_resources.store.opened import open_store
from pp_resources.store.work import Decision

TASK = load_task("support-triage", PROJECT_ROOT / "tasks")
TRUTH = {"category": "billing", "priority": "high", "wants_human": False, "order_id": None, "products": []}


def expert(right: float, n: int = 300) -> remote.Expert:
    made = remote.Expert(TASK.output_schema, {"m": remote.Model(right)}, 7)
    made.truths |= {f"text {i}": TRUTH for i in range(n)}
    return made


def test_a_simulated_model_is_right_as_often_as_it_should_be_and_always_about_the_same_texts():
    said = [json.loads(expert(0.6).answer("m", f"text {i}")) for i in range(300)]
    assert said == [json.loads(expert(0.6).answer("m", f"text {i}")) for i in range(300)]
    right = sum(one == TRUTH for one in said)
    assert 150 < right < 210 and all(set(one) == set(TRUTH) for one in said)
    assert all(json.loads(expert(1.0).answer("m", f"text {i}")) == TRUTH for i in range(20))


def test_it_answers_as_a_provider_does():
    with remote.served(expert(1.0)) as url:
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "text 3"}]}).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(f"{url}/chat/completions", body)) as answer:
            told = json.load(answer)
    assert json.loads(told["choices"][0]["message"]["content"]) == TRUTH and told["usage"]["prompt_tokens"] == 1


def test_the_story_is_what_was_answered_and_decided(tmp_path: Path):
    lines: list[str] = []
    story, home = Story(lines.append), tmp_path / "home"
    open_store(home).write(Decision(task="t", kind="weights", data={"weights": {"a": 0.9, "b": 0.1}, "reason": "a leads"}))
    (home / "alerts.jsonl").write_text(json.dumps({"drift": "1 of 1 windows drift"}) + "\n")
    for right in (True, True, False):
        story.answered({"variant_name": "a", "usage": {"cost": 0.001}}, right)
    story.turn(3, home, "t")
    story.answered({"variant_name": "b", "usage": {"cost": None}}, True)
    story.turn(4, home, "t")
    assert story.turns == [Turn(3, {"a": 3}, {"a": 2}, 0.003, {"a": 0.9, "b": 0.1}), Turn(4, {"b": 1}, {"b": 1}, 0.0, {"a": 0.9, "b": 0.1})]
    assert [event["kind"] for event in story.events] == ["weights", "drift"]
    result = dict(pair.split("=") for pair in story.result().removeprefix("RESULT ").split())
    assert result["right_first"] == "0.667" and result["right_last"] == "1.000" and result["drift_alerts"] == "1"
    story.write(tmp_path / "loop.json", tmp_path / "loop.png")
    assert json.loads((tmp_path / "loop.json").read_text())["decisions"][0]["data"]["reason"] == "a leads"
    assert (tmp_path / "loop.png").read_bytes().startswith(b"\x89PNG")
    again = Story(lines.append)
    again.turn(3, home, "t")
    assert again.digest == story.digest


@pytest.mark.slow
def test_the_platform_comes_to_rest_by_itself_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(PROJECT_ROOT / "tests" / "graph"))
    from small_task import write_task

    from bench.loop.ticks import Ticks

    settings, ran = Settings(tmp_path / "home", tmp_path / "tasks", threads=1), []
    write_task(settings.tasks, "alpha")
    ticks = Ticks(settings, lambda *run: ran.append(run))
    try:
        assert ticks.settle() == 1 and ran == [("task_data", "alpha", "ok")]
        assert ticks.settle() == 0
    finally:
        ticks.close()
