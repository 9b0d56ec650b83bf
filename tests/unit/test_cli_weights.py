"""`pp weights` and `pp next`: what is in force, what would be, what was, and what is to be done."""

from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from served_rows import Served

from pp_resources.store import ids

ROUTING: dict[str, Any] = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 60.0, "cohort": 20}
GUARDED = ROUTING | {"guards": [{"metric": "invalid", "tolerance": 0.02}]}


@pytest.fixture
def pp(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(tmp_path, capfd)


def test_weights_are_shown_tried_applied_and_drawn(pp, tmp_path: Path) -> None:
    served = Served(tmp_path, **GUARDED)
    assert "no decision yet; static weights: nothing was decided yet" in pp("weights", "toy").out
    assert pp("weights", "toy", "--plot", str(tmp_path / "w.png")).code == 2
    for _ in range(6):
        served.serve(20, {"a": 0.8, "b": 0.8}, {"b": 0.9})
        served.move()
    with ids.clock(lambda: round((served.clock + 200) * 1e9)):
        tried = pp("weights", "toy", "--dry-run", "--json").json
        assert not tried["written"] and tried["decision"] == pp("weights", "toy", "--json").json["decision"]
        done = pp("weights", "toy", "--apply", "--json").json
        assert done["written"] and done["weights"] == tried["weights"] == {"a": 1.0, "b": 0.0}
        assert not pp("weights", "toy", "--apply", "--json").json["written"], "nothing is new"
    shown = pp("weights", "toy").out
    assert "rolled back" in shown and "a (champion)" in shown and "of 20)" in shown and "last read" in shown
    found = pp("weights", "toy", "--history", "--json").json["decisions"]
    assert [row["seq"] for row in found] == sorted(row["seq"] for row in found) and found[-1]["seq"] == done["decision"]
    said = pp("weights", "toy", "--history", "--plot", str(tmp_path / "w.png"))
    assert "b was rolled back: invalid" in said.out and (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_the_next_step_is_told_with_its_numbers_and_kept(pp, tmp_path: Path) -> None:
    served = Served(tmp_path, **ROUTING)
    told = pp("next", "toy")
    assert told.code == 2 and "serving.standards: nothing says what is good enough" in told.err
    served.declare(ROUTING, {"good": 0.9, "poor": 0.2})
    with ids.clock(lambda: round((served.clock + 200) * 1e9)):
        served.serve(60, {"a": 0.5, "b": 0.5})
        said = pp("next", "toy", "--json")
        assert said.code == 1 and said.json["action"] == "tune" and said.json["facts"]["quality"]["n"] > 10
        shown = pp("next", "toy")
    assert shown.code == 1 and "toy: tune (below good): quality 0." in shown.out and "0.2 poor, 0.9 good" in shown.out


def test_a_task_without_routing_is_told_what_to_declare(pp, tmp_path: Path) -> None:
    from test_package import write_task

    write_task(tmp_path / "tasks")
    assert pp("weights", "toy").code == 2
