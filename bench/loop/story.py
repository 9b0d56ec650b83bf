"""What happened, turn by turn: true quality, cost and weights, the decisions of the platform; as a plot, as JSON, as one line."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.fingerprint import digest
from pp_resources.store.opened import open_store
from pp_resources.store.read_work import decisions_on

MILLION = 1e6
PACKAGE = re.compile(r"\b[0-9a-f]{8}\b")
ALL = 100_000


@dataclass
class Turn:
    """A hundred visits: by variant how many it answered, how many rightly, for how much; the weights after them."""

    until: int
    asked: dict[str, int] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)
    cost: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)


class Story:
    """Heard as it goes on; the truth is known here and to nobody who decides."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.turns: list[Turn] = []
        self.events: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self._now = Turn(0)
        self._seen: set[str] = set()
        self._alerts = 0

    def answered(self, said: dict[str, Any], right: bool) -> None:
        """One answer, and whether it was right by what only the simulation knows."""
        turn, name = self._now, said["variant_name"]
        turn.asked[name] = turn.asked.get(name, 0) + 1
        turn.right[name] = turn.right.get(name, 0) + right
        turn.cost += said["usage"].get("cost") or 0.0

    def ran(self, job: str, partition: str, outcome: str) -> None:
        """A run of the platform."""
        self._event("run" if outcome == "ok" else "failed run", f"{job} {partition}".strip(), outcome)

    def turn(self, until: int, home: Path, task: str) -> None:
        """The end of a turn: what has been decided since the last one."""
        self._now.until = until
        for row in reversed(decisions_on(open_store(home), task, limit=ALL)):
            if row["id"] in self._seen:
                continue
            self._seen.add(row["id"])
            self.decisions.append({"visit": until, "kind": row["kind"], "data": row["data"]})
            if row["kind"] == "weights":
                self._now.weights = row["data"]["weights"]
            self._event(row["kind"], str(row["data"].get("reason", "")), "")
        self._alarms(home)
        if not self._now.weights and self.turns:
            self._now.weights = self.turns[-1].weights
        asked, right = sum(self._now.asked.values()), sum(self._now.right.values())
        shares = ", ".join(f"{name} {share:.2f}" for name, share in self._now.weights.items())
        self._say(f"{until}: right {right} of {asked}, {self._now.cost / max(1, asked) * 1000:.3f} $ a thousand; {shares}")
        self.turns.append(self._now)
        self._now = Turn(until)

    def result(self) -> str:
        """The last line."""
        fifth = max(1, len(self.turns) // 5)
        first, last = self._quality(self.turns[:fifth]), self._quality(self.turns[-fifth:])
        kinds = [event["kind"] for event in self.events]
        keys = {
            "visits": self.turns[-1].until,
            "right_first": f"{first[0]:.3f}",
            "right_last": f"{last[0]:.3f}",
            "cost_first": f"{first[1]:.6f}",
            "cost_last": f"{last[1]:.6f}",
            "drift_alerts": kinds.count("drift"),
            "failed_runs": kinds.count("failed run"),
            "decisions": len(self.decisions),
            "digest": self.digest[:16],
        }
        return "RESULT " + " ".join(f"{name}={value}" for name, value in keys.items())

    @property
    def digest(self) -> str:
        """Of everything that was decided, and when; but for the names of packages, which hold when they were made."""
        told = [[one["visit"], one["kind"], one["data"].get("reason", ""), one["data"].get("weights")] for one in self.decisions]
        return digest([[visit, kind, PACKAGE.sub("", reason), weights] for visit, kind, reason, weights in told])

    def write(self, file: Path, picture: Path) -> None:
        """The figures, and the plot of them."""
        turns = [vars(turn) for turn in self.turns]
        file.write_text(json.dumps({"turns": turns, "events": self.events, "decisions": self.decisions}, indent=1) + "\n", "utf-8")
        picture.write_bytes(self._plot())

    def _event(self, kind: str, what: str, outcome: str) -> None:
        self.events.append({"visit": self._now.until, "kind": kind, "what": what, "outcome": outcome})
        self._say(f"  {kind}: {what} {outcome}".rstrip())

    def _alarms(self, home: Path) -> None:
        file = home / "alerts.jsonl"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        for line in lines[self._alerts :]:
            told = json.loads(line)
            what = told.get("drift") or told.get("what") or told.get("error") or told
            self._event("drift" if "drift" in told else "alert", str(what), "")
        self._alerts = len(lines)

    def _quality(self, turns: list[Turn]) -> tuple[float, float]:
        asked = sum(sum(turn.asked.values()) for turn in turns)
        return sum(sum(turn.right.values()) for turn in turns) / asked, sum(turn.cost for turn in turns) / asked

    def _plot(self) -> bytes:
        from matplotlib.figure import Figure

        from pp_assets.evaluation.drawing import draw

        at = [turn.until for turn in self.turns]
        names = sorted({name for turn in self.turns for name in turn.weights})
        counted = [(sum(turn.right.values()), sum(turn.asked.values())) for turn in self.turns]

        def paint(figure: Figure) -> None:
            quality, cost, weights = figure.subplots(3, 1, sharex=True)
            quality.fill_between(at, *zip(*(wilson(right, n) for right, n in counted)), alpha=0.2)
            quality.plot(at, [right / n for right, n in counted])
            quality.set_ylabel("right, by hidden truth")
            cost.plot(at, [turn.cost / n * MILLION for turn, (_, n) in zip(self.turns, counted)])
            cost.set_ylabel("$ for a million answers")
            for name in names:
                weights.plot(at, [turn.weights.get(name, float("nan")) for turn in self.turns], label=name)
            weights.set_ylabel("weights")
            weights.set_xlabel("visits (red: drift alert, green: the flywheel)")
            weights.legend(fontsize=7)
            for event in self.events:
                if event["kind"] in ("flywheel", "drift"):
                    for axes in (quality, cost, weights):
                        axes.axvline(event["visit"], color="tab:red" if event["kind"] == "drift" else "tab:green", alpha=0.4, linewidth=0.8)

        return draw((9.0, 8.0), paint)
