"""What the sensors decide, without Dagster: plain plans on plain values. Their effects are tested in tests/graph."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pp_assets.champion import promotes
from pp_sensors import feedback
from pp_sensors.alerts import raise_alert
from pp_sensors.schedules import due
from pp_sensors.task_folders import Folder, Refresh, plan


def test_a_new_folder_is_registered_and_started() -> None:
    made = plan({"a": Folder(("v1", "v2"), "d1" * 10)}, {}, [])
    assert made.tasks == ["a"] and made.variants == ["v1", "v2"]
    assert made.refresh == [Refresh("a", "task:a:d1d1d1d1d1d1d1d1:1")]


def test_an_unchanged_folder_starts_nothing() -> None:
    first = plan({"a": Folder(("v",), "d1")}, {}, [])
    assert plan({"a": Folder(("v",), "d1")}, first.cursor, ["a"]).refresh == []


def test_going_back_to_an_earlier_state_is_a_change_with_a_key_of_its_own() -> None:
    """Dagster never starts the same run key twice."""
    cursor, keys = {}, []
    for state in ("d1", "d2", "d1"):
        made = plan({"a": Folder(("v",), state)}, cursor, ["a"])
        cursor, keys = made.cursor, [*keys, *(r.run_key for r in made.refresh)]
    assert keys == ["task:a:d1:1", "task:a:d2:2", "task:a:d1:3"]


def test_archived_tasks_are_left_alone() -> None:
    made = plan({"a": Folder(("v",), "d1", archived=True)}, {}, [])
    assert (made.tasks, made.variants, made.refresh, made.cursor) == ([], [], [], {})


def test_a_task_that_a_command_has_run_already_is_not_run_again() -> None:
    made = plan({"a": Folder(("v",), "d1", up_to_date=True)}, {}, ["a"])
    assert made.refresh == [] and made.cursor == {"a": ["d1", 1]}
    assert plan({"a": Folder(("v",), "d1", up_to_date=True)}, {}, []).refresh, "not registered: the UI knows nothing of it"


def test_a_folder_that_is_gone_is_remembered() -> None:
    assert plan({}, {"a": ["d1", 1]}, ["a"]).cursor == {"a": ["d1", 1]}


def test_new_demonstrations_start_their_task_once() -> None:
    first = feedback.plan({"a": 3, "b": 5}, {"b": 5}, ["a", "b"])
    assert first.refresh == ["a"] and first.cursor == {"a": 3, "b": 5}
    assert feedback.plan({"a": 3, "b": 5}, first.cursor, ["a", "b"]).refresh == []


def test_feedback_on_a_task_that_is_not_registered_waits() -> None:
    made = feedback.plan({"a": 3}, {}, [])
    assert made.refresh == [] and made.cursor == {}


def test_the_schedule_takes_trained_variants_of_live_tasks() -> None:
    assert due({"a|v1", "b|v1", "a|v2"}, {"a"}) == [("a", "v1"), ("a", "v2")]


@pytest.mark.parametrize(
    ("verdict", "outcome", "moved"),
    [
        ("SHIP", "FIRST", True),
        ("SHIP", "PASS", True),
        ("SHIP", "OTHER DATA", True),
        ("SHIP", "INCONCLUSIVE", False),
        ("SHIP", "FAIL", False),
        ("SHIP", "SAME", False),
        ("DO NOT SHIP", "FIRST", False),
        ("NOT ENOUGH DATA", "PASS", False),
    ],
)
def test_the_champion_changes_only_on_ship_and_only_when_nothing_is_lost(verdict: str, outcome, moved: bool) -> None:
    assert promotes(verdict, outcome) is moved


GOT: list[dict] = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        GOT.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


def test_an_alert_is_a_line_in_a_file_and_a_post(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    try:
        assert raise_alert(tmp_path, {"job": "train_variant"}, f"http://127.0.0.1:{server.server_port}/hook") is None
    finally:
        thread.join(10)
        server.server_close()
    assert GOT == [{"job": "train_variant"}]
    assert [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()] == [{"job": "train_variant"}]


@pytest.mark.parametrize(("hook", "said"), [("http://127.0.0.1:9/x", "did not take it"), ("file:///etc/passwd", "is no http address")])
def test_a_webhook_that_fails_does_not_hide_the_alert(tmp_path: Path, hook: str, said: str) -> None:
    assert said in (raise_alert(tmp_path, {"n": 1}, hook) or "")
    assert (tmp_path / "alerts.jsonl").read_text() == '{"n": 1}\n'
