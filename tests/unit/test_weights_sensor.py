"""What the sensor of weights decides and tells, without Dagster."""

from pathlib import Path
from typing import Any

from served_rows import Served
from test_package import write_task

from pp_assets.routing.weights_plot import events, weights_plot
from pp_sensors.weights import plan, several

ROUTING: dict[str, Any] = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 0.0}


def data(experiment: str = "x", won: str = "", **rolled: str) -> dict[str, Any]:
    state = {"experiment": experiment, "won": {"reason": won} if won else None}
    state |= {"rolled_back": {name: {"reason": reason} for name, reason in rolled.items()}}
    return {"state": state, "weights": {"a": 0.5, "b": 0.5}}


def test_each_roll_back_and_each_winner_is_told_once() -> None:
    assert plan({"t": ({}, data(), 1)}).alerts == []
    made = plan({"t": (data(), data(b="b was rolled back"), 7), "s": (data(), data(won="b has won"), 9)})
    assert [(one["task"], one["what"], one["decision"]) for one in made.alerts] == [("s", "b has won", 9), ("t", "b was rolled back", 7)]
    assert made.steps == {"s": 9, "t": 7}
    again = plan({"t": (data(b="b was rolled back"), data(b="b was rolled back"), 8), "s": (data(won="w"), data(won="w"), 9)})
    assert again.alerts == [] and again.steps == {}
    assert [one["what"] for one in plan({"t": (data("old", won="b has won"), data("new", won="c has won"), 8)}).alerts] == ["c has won"]


def test_tasks_with_more_than_one_variant_are_taken(tmp_path: Path) -> None:
    def task(folder: str, **changes: Any) -> Any:
        names = ["a", "b"] if changes.pop("two", True) else ["a"]
        variants = {name: {"kind": "remote", "url": "http://127.0.0.1:9/v1", "model": "m"} for name in "ab"}
        routing = ROUTING | {"weights": dict.fromkeys(names, 1.0), **changes.pop("routing", {})}
        return write_task(tmp_path / folder, serving={"variants": variants, "routing": routing}, **changes)

    shadowed = task("3", two=False, routing={"shadow": {"b": 0.1}})
    taken = [task("1"), shadowed]
    assert several([*taken, task("2", two=False), write_task(tmp_path / "5")]) == taken


def test_the_picture_shows_every_decision_and_marks_what_is_for_good(tmp_path: Path) -> None:
    served = Served(tmp_path, **ROUTING | {"cohort": 20, "guards": [{"metric": "invalid", "tolerance": 0.02}]})
    history = []
    for _ in range(6):
        served.serve(20, {"a": 0.9, "b": 0.9}, {"b": 0.8})
        found = served.move()
        if found.seq:
            history.append({"at": round(served.clock * 1e6), "seq": found.seq, "data": found.data})
    marks = events(history)
    assert [kind for _, kind, _ in marks] == ["rolled back"] and marks[0][2].startswith("b was rolled back: invalid")
    assert events(history[-1:], history[-2]) == [] and len(events(history[-1:])) == 1, "what was so before is no event"
    picture = weights_plot(history, "toy", served.clock)
    assert picture.startswith(b"\x89PNG") and picture == weights_plot(history, "toy", served.clock)
    assert picture != weights_plot(history[:2], "toy", served.clock)
