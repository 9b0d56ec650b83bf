"""From the store to the next decision: what has become complete since the last one is cut into cohorts, accounted for once, and written.

A store that cannot be read leaves everything as it was: the gateway keeps the weights that it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pp_assets.routing.cohorts import Cut, cut
from pp_assets.routing.decision import Decision, decide
from pp_assets.routing.policy import OBJECTIVE, Routing
from pp_assets.routing.state import State, opened, restarted, watched
from pp_assets.serving.versions import installed
from pp_assets.task.spec import Task
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError
from pp_resources.store.decide_once import write_after
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store
from pp_resources.store.read_evidence import evidence, time_of
from pp_resources.store.read_work import decisions_on
from pp_resources.store.work import Decision as Row

KIND = "weights"
MARGIN = 1.0  # seconds that a row takes to the store after its answer
MOST = 20_000  # inferences that are read at once, in 1.4 s of one core with as much feedback; the rest of a long time is for the next call


@dataclass(frozen=True)
class Last:
    """The decision in force as it stands in the store; `seq` 0 where there is none."""

    seq: int = 0
    at: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> State | None:
        """None where there is none; one that this version cannot read is the end of its experiment."""
        if not self.seq:
            return None
        try:
            return State.model_validate(self.data.get("state"))
        except ValidationError:
            return State(experiment="", since=0.0, tests={})

    @property
    def versions(self) -> Mapping[str, str]:
        return self.data.get("versions") or {}


@dataclass(frozen=True)
class Moved:
    """What would be in force now: `data` as in a row of kind "weights". `changed`: it differs from what was; `seq` its number where it was
    written, None where it was not, also because another process was faster; `more`: there is evidence left for another call."""

    last: Last
    data: Mapping[str, Any]
    changed: bool
    seq: int | None
    more: bool


def routed(task: Task) -> Routing:
    """The policy of a task. Raises UserError for one without."""
    if task.spec.serving is None or task.spec.serving.routing is None:
        how = "declare one: metric, champion, weights"
        raise UserError("there is no policy by which variants share the traffic", where=f"{task.file}: serving.routing", how=how)
    return task.spec.serving.routing


def last_decision(store: Store, task: str) -> Last:
    """Raises StoreUnavailable."""
    found = decisions_on(store, task, kind=KIND, limit=1) if store.exists else []
    return Last(found[0]["seq"], found[0]["at"], found[0]["data"]) if found else Last()


def move(store: Store, task: Task, artifacts: ArtifactStore, *, at: float | None = None, write: bool = True) -> Moved:
    """Account for what has become complete by `at` (seconds since 1970, now by default), and write the decision where it differs from the
    last one. Raises StoreUnavailable with nothing written.

    An inference may be answered until the task's time-out, so the store is taken to know of those that are older. Of processes that do this
    at once one writes, on the state that it has read.
    """
    policy, versions = routed(task), installed(task, artifacts)
    moment = (now() / MICRO if at is None else at) - (task.spec.serving.timeout if task.spec.serving else 0.0) - MARGIN
    last = last_decision(store, task.name)
    state = _renewed(last, versions, policy)
    begun = opened(state, policy, moment)
    found, until = _complete(store, task.name, begun, policy, versions, moment)
    made = decide(state, found.cohorts, policy, until)
    data = told(made, versions, found, last.data)
    changed = bool(found.cohorts) if not last.seq else _content(data) != _content(last.data)
    seq = None
    if write and changed:
        row = Row(task=task.name, kind=KIND, data=data, at=now() if at is None else round(at * MICRO))
        ack = write_after(store, row, last.seq)
        seq = None if ack is None else ack.seq
    return Moved(last, data, changed, seq, until < moment)


def _renewed(last: Last, versions: Mapping[str, str], policy: Routing) -> State | None:
    """The last state; where another model has taken a variant's name, the end of its experiment, with that variant back in the race."""
    state, before = last.state, last.versions
    others = [name for name in policy.variants if name in before and before[name] != versions.get(name)]
    return restarted(state, others) if state is not None and others else state


def _complete(store: Store, task: str, state: State, policy: Routing, versions: Mapping[str, str], moment: float) -> tuple[Cut, float]:
    """The cohorts that have become complete by `moment`, or by an earlier one where that is too much at once, and by which.

    Each metric has a stretch of time of its own: from where its account ends to its horizon ago. Nothing is cut before one of them holds as
    many inferences as the policy asks for.
    """
    ends = {(state.tests[name].until, horizon) for name, horizon in _horizons(policy).items()}
    if not store.exists:
        return Cut(), moment
    limits = {end: time_of(store, task, round(end[0] * MICRO), MOST) for end in ends}
    moment = min([moment, *(time / MICRO + horizon for (_, horizon), time in limits.items() if time is not None)])
    stretches = sorted({(until, moment - horizon) for until, horizon in ends if until < moment - horizon})
    firsts = [(time_of(store, task, round(low * MICRO), policy.cohort), high) for low, high in stretches]
    if not any(first is not None and first / MICRO < high for first, high in firsts):
        return Cut(), moment
    whole = Cut()
    for low, high, points in _joined(stretches):
        rows = evidence(store, task, int(low * MICRO), int(high * MICRO) + 1)
        part = cut(rows, policy, versions, points)
        whole.cohorts += part.cohorts
        whole.inferences += part.inferences
        whole.left_out += part.left_out
    return whole, moment


def _horizons(policy: Routing) -> dict[str, float]:
    return {one.name: one.horizon for one in watched(policy)} | {OBJECTIVE: policy.horizon}


def _joined(stretches: list[tuple[float, float]]) -> list[tuple[float, float, list[float]]]:
    """Stretches that overlap or touch as one, with all ends within it."""
    made: list[tuple[float, float, list[float]]] = []
    for low, high in stretches:
        if made and low <= made[-1][1]:
            first, last, points = made[-1]
            made[-1] = first, max(last, high), sorted({*points, low, high})
        else:
            made.append((low, high, [low, high]))
    return made


def told(made: Decision, versions: Mapping[str, str], found: Cut, before: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a decision: `versions` the models that were compared, `read` how much was read for it and what was no evidence."""
    left_out = {reason: n for reason, n in sorted(found.left_out.items()) if n}
    read = {"inferences": found.inferences, "cohorts": len(found.cohorts), "left_out": left_out}
    data = made.model_dump(mode="json") | {"versions": dict(versions), "read": read if found.cohorts else before.get("read", read)}
    unpriced = left_out.get("feedback on an answer without a price", 0)
    if unpriced:
        data["warnings"] = [*data["warnings"], f"{unpriced} values do not count: cost is in the objective, and the price is not known"]
    return data


def _content(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What makes a decision another one."""
    return {name: data.get(name) for name in ("state", "weights", "shadow", "winner", "versions")}
