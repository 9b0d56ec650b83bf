"""A turn of a task's flywheel: read where it stands, finish what a crash left, look, decide, write it down, do it.

The decision is in the store before anything is done, with what is still to be done; what it asks for may be done twice. So whenever a turn
is cut off, the next one ends where that one would have.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pp_assets.champion import Champion, promote, read_champion, roll_back
from pp_assets.flywheel.facts import gather
from pp_assets.flywheel.machine import advance
from pp_assets.flywheel.policy import CANDIDATE, PREVIOUS, Flywheel
from pp_assets.flywheel.state import Action, Plain, State, Step
from pp_assets.flywheel.trial import Trial, end_trial, trial_file, write_trial
from pp_assets.task.spec import Task
from pp_resources.artifacts import Artifact, read_artifact
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import now
from pp_resources.store.opened import Store
from pp_resources.store.read_work import decisions_on
from pp_resources.store.work import Decision

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

KIND = "flywheel"
STEPS = 4  # of one turn; each but the last has changed the state


class Turn(Plain):
    """What a turn came to: the state, why it is that, the numbers of the last look, and what was decided on the way."""

    task: str
    state: State
    reason: str
    numbers: dict[str, Any]
    decided: tuple[str, ...]


class Written(Plain):
    """A decision as it stands in the store; `pending` is what was not done yet when it was written."""

    state: State
    reason: str
    numbers: dict[str, Any]
    pending: tuple[Action, ...] = ()


def turn(p: "Pipeline", name: str) -> Turn:
    """Take the steps that are due. Raises UserError where the task has no flywheel, StoreUnavailable before anything has changed."""
    task, policy = enabled(p, name)
    store, decided = p.inbox.store, list[str]()
    file = trial_file(p.settings.home, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        state = _finished(p, task, policy, store)
        for _ in range(STEPS):
            step = advance(state, gather(p, task, policy, state, now()), policy)
            if step.state == state:
                break
            _write(store, name, step, step.actions)
            decided.append(step.reason)
            _carry_out(p, task, policy, step.state, step.actions)
            if step.actions:
                _write(store, name, step, ())
            state = step.state
    return Turn(task=name, state=state, reason=step.reason, numbers=step.numbers, decided=tuple(decided))


def look(p: "Pipeline", name: str) -> Turn:
    """What the next turn would find, without doing anything."""
    task, policy = enabled(p, name)
    before = last(p.inbox.store, name)
    state = before.state if before else State()
    step = advance(state, gather(p, task, policy, state, now()), policy)
    return Turn(task=name, state=state, reason=step.reason, numbers=step.numbers, decided=())


def enabled(p: "Pipeline", name: str) -> tuple[Task, Flywheel]:
    """The task and what it says of its flywheel. Raises UserError where that is not enabled."""
    task = p.task(name)
    if task.spec.flywheel is None or not task.spec.flywheel.enabled:
        raise UserError("the flywheel is not enabled", where=f"{task.file}: flywheel", how="write 'flywheel: {enabled: true}' there")
    return task, task.spec.flywheel


def last(store: Store, name: str) -> Written | None:
    """The last decision on a task, None before there is one. Raises StoreUnavailable."""
    found = decisions_on(store, name, kind=KIND, limit=1) if store.exists else []
    return Written.model_validate(found[0]["data"]) if found else None


def history(store: Store, name: str, limit: int = 50) -> list[dict[str, Any]]:
    """Decisions with their numbers, the newest first; `at` in microseconds. What only notes that a decision was carried out is left out."""
    if not store.exists:
        return []
    rows = decisions_on(store, name, kind=KIND, limit=2 * limit)
    seen: list[dict[str, Any]] = []
    for row, earlier in zip(rows, [*rows[1:], None]):
        noted = earlier and earlier["data"].get("pending") and earlier["data"]["reason"] == row["data"]["reason"]
        if not noted:
            seen.append({"at": row["at"], **row["data"]})
    return seen[:limit]


def take_back(p: "Pipeline", name: str, reason: str) -> tuple[Champion, bool]:
    """A person rolls back to the previous champion, at once and also while the store is away; the flywheel finds it so at its next turn.
    Returns the champion of now, and whether the reason is in the store. Raises UserError where there is no earlier one."""
    file = trial_file(p.settings.home, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        made = roll_back(p, name)
        end_trial(p.settings.home, name)
    data = {"reason": reason, "package": made.package_digest, "variant": made.variant, "taken_back": made.refused[-1]}
    try:
        p.inbox.store.write(Decision(task=name, kind="rollback", data=data))
    except StoreUnavailable:
        return made, False
    return made, True


def _finished(p: "Pipeline", task: Task, policy: Flywheel, store: Store) -> State:
    """The state of the last decision, once all that it asked for is done."""
    before = last(store, task.name)
    if before is None:
        return State()
    if before.pending:
        _carry_out(p, task, policy, before.state, before.pending)
        _write(store, task.name, Step(state=before.state, reason=before.reason, numbers=before.numbers), ())
    _keep_copies(p, task, policy, before.state)
    return before.state


def _keep_copies(p: "Pipeline", task: Task, policy: Flywheel, state: State) -> None:
    """The record of what is on trial, where somebody removed it or the share has changed."""
    champion = read_champion(p.settings.home, task.name)
    pack = {"shadow": state.candidate, "watch": state.previous}.get(state.stage)
    if pack is not None and champion and champion.package_digest == state.champion:
        role = CANDIDATE if state.stage == "shadow" else PREVIOUS
        _carry_out(p, task, policy, state, (Action(kind="shadow", pack=pack, role=role),))


def _write(store: Store, name: str, step: Step, pending: tuple[Action, ...]) -> None:
    made = Written(state=step.state, reason=step.reason, numbers=step.numbers, pending=pending)
    store.write(Decision(task=name, kind=KIND, data=made.model_dump(mode="json")))


def _carry_out(p: "Pipeline", task: Task, policy: Flywheel, state: State, actions: tuple[Action, ...]) -> None:
    home, name = p.settings.home, task.name
    for action in actions:
        if action.kind == "end":
            end_trial(home, name)
        elif action.kind == "restore":
            # Whoever made another one the champion meanwhile is not overruled.
            roll_back(p, name, taken_back=state.refused[-1])
        elif action.kind == "promote" and action.pack is not None:
            champion = read_champion(home, name)
            expected = {action.pack.package_digest, state.previous.package_digest if state.previous else ""}
            # The same for a person who took it back before this turn could note that it was done.
            if champion and champion.package_digest in expected and action.pack.package_digest not in champion.refused:
                promote(p, name, action.pack.variant, _there(action.pack.package), _there(action.pack.evaluation))
        elif action.pack is not None and (champion := read_champion(home, name)):
            trial = Trial(role=action.role or CANDIDATE, pack=action.pack, of=champion.package_digest, share=policy.shadow)
            if trial.of != action.pack.package_digest:
                write_trial(home, name, trial)


def _there(folder: str) -> Artifact:
    try:
        return read_artifact(Path(folder))
    except FileNotFoundError:
        raise UserError("is not there any more", where=folder, how="package the variant again: 'pp eval'") from None
