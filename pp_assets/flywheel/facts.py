"""What is so now: champion, challengers, feedback, alarms and the evidence of a trial, read from files and store. Nothing is decided here.

Everything is read or the turn ends with an error: what cannot be read is not nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.champion import Champion, read_champion
from pp_assets.flywheel import evidence
from pp_assets.flywheel.policy import CANDIDATE, PREVIOUS, Flywheel
from pp_assets.flywheel.prompts import holds, prompted
from pp_assets.flywheel.state import Alarm, Challenger, Evidence, Facts, Pack, Pairs, State
from pp_assets.task.examples import read_split
from pp_assets.task.spec import Task
from pp_resources.artifacts import MANIFEST, Artifact
from pp_resources.errors import UserError
from pp_resources.store.opened import Store
from pp_resources.store.read_feedback import Said

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

BLOCK, ALPHA = 200, 0.01  # answers that are compared with those before, and the chance that equal ones raise the alarm


def gather(p: "Pipeline", task: Task, policy: Flywheel, state: State, now: int) -> Facts:
    """All that a step may look at. Raises StoreUnavailable."""
    name, store = task.name, p.inbox.store
    said = evidence.demonstrations(store, name)
    champion = read_champion(p.settings.home, name)
    dataset = p.store.current(stages.DATASETS, name)
    learnt_to = _learnt_to(dataset, said)
    head = max((one.seq for one in said), default=0)
    new = sum(one.seq > max(state.trained_to, learnt_to) for one in said)
    return Facts(
        now=now,
        task=name,
        champion=None if champion is None else pack_of(champion),
        challengers=tuple(_challengers(p, name, champion)),
        head=head,
        new=new,
        data="" if dataset is None else dataset.inputs.get("feedback", ""),
        learnt_to=learnt_to,
        behind=tuple(_behind(p, name, dataset)),
        alarms=tuple(_alarms(p, task, store, champion, said, state)),
        evidence=_evidence(p, task, policy, state, said, now),
        prompts=prompted(p, task, policy, state, said),
    )


def pack_of(champion: Champion) -> Pack:
    """The champion as a package."""
    return Pack(
        variant=champion.variant,
        package=champion.package,
        package_digest=champion.package_digest,
        evaluation=champion.evaluation,
        evaluation_digest=champion.evaluation_digest,
    )


def _challengers(p: "Pipeline", name: str, champion: Champion | None) -> list[Challenger]:
    """Packages in force beside the champion's, each tested against it; a test that was done is not done again."""
    found: list[Challenger] = []
    for key in _keys(p, stages.PACKAGES, name):
        packed, report = p.store.current(stages.PACKAGES, key), p.store.current(stages.EVALUATIONS, key)
        if champion is None or packed is None or report is None or packed.inputs.get("evaluation") != report.digest:
            continue
        if packed.digest == champion.package_digest:
            continue
        variant = key.partition("/")[2]
        pack = Pack(
            variant=variant,
            package=str(packed.path),
            package_digest=packed.digest,
            evaluation=str(report.path),
            evaluation_digest=report.digest,
        )
        try:
            made = p.regression(name, variant).metadata
        except UserError as error:
            found.append(Challenger(pack=pack, passes=False, outcome="NOT TESTED", reason=str(error)))
            continue
        value = report.metadata.get("value")
        better = value if value is None or p.task(name).spec.primary_metric.higher_is_better else -value
        passes = bool(made.get("candidate"))
        found.append(Challenger(pack=pack, passes=passes, outcome=made["outcome"], reason=_why(made), value=better))
    return found


def _why(made: Mapping[str, Any]) -> str:
    return str(made["reason"]) if made["verdict"] == "SHIP" else f"its verdict is {made['verdict']}"


def _behind(p: "Pipeline", name: str, dataset: Artifact | None) -> list[str]:
    """Variants that were trained before and whose package is not of the data set in force."""
    behind = []
    for key in _keys(p, stages.ADAPTERS, name):
        packed, report = p.store.current(stages.PACKAGES, key), p.store.current(stages.EVALUATIONS, key)
        whole = packed and report and packed.inputs.get("evaluation") == report.digest
        if not dataset or not packed or not whole or packed.inputs.get("dataset") != dataset.digest:
            behind.append(key.partition("/")[2])
    return behind


def _keys(p: "Pipeline", kind: str, name: str) -> list[str]:
    return [key for key in p.store.keys(kind) if key.partition("/")[0] == name]


def _learnt_to(dataset: Artifact | None, said: Sequence[Said]) -> int:
    """The last demonstration that the data set in force was made with: it was read before the set was made."""
    if dataset is None or not dataset.inputs.get("feedback"):
        return 0
    return max((one.seq for one in said if holds(dataset, one)), default=0)


def _alarms(p: "Pipeline", task: Task, store: Store, champion: Champion | None, said: Sequence[Said], state: State) -> list[Alarm]:
    found = []
    drift = p.store.current(stages.DRIFTS, task.name)
    if drift is not None and drift.metadata.get("newest_drifts"):
        windows = f"{drift.metadata['drifting']} of {drift.metadata['windows']} windows"
        found.append(Alarm(cause="drift", reason=f"the newest inputs drift ({windows})"))
    if champion is not None and state.stage == "idle" and (worse := _worse(task, store, champion, said)):
        found.append(Alarm(cause="regression", reason=worse))
    return found


def _worse(task: Task, store: Store, champion: Champion, said: Sequence[Said]) -> str | None:
    """Whether the champion's newest answers are put right more often than those before (Fisher's exact test), in words."""
    rows = evidence.answers(store, task.name, champion.package_digest, 0, 1 << 62)
    whole = len(rows) // BLOCK * BLOCK
    if whole < 2 * BLOCK:
        return None
    from scipy.stats import fisher_exact

    put_right = evidence.corrected(rows[-whole:], evidence.said_since(said, 0), task)
    before, now = sum(put_right[:-BLOCK]), sum(put_right[-BLOCK:])
    table = [[now, BLOCK - now], [before, whole - BLOCK - before]]
    chance = float(fisher_exact(table, alternative="greater").pvalue)
    if chance > ALPHA:
        return None
    return f"of the newest {BLOCK} answers {now} were put right, of the {whole - BLOCK} before {before} (p = {chance:.2g})"


def _evidence(p: "Pipeline", task: Task, policy: Flywheel, state: State, said: Sequence[Said], now: int) -> Evidence:
    if state.candidate is None or state.previous is None:
        return Evidence()
    store, name, slower = p.inbox.store, task.name, policy.guards.slower
    candidate, previous = state.candidate.package_digest, state.previous.package_digest
    # While a new champion is watched the roles are changed, and the time before is told the other way round.
    turned = state.since if state.stage == "watch" else now
    learnt = _learnt(p, name, state.candidate)

    def beside(role: str, hidden: str, seen: str, since: int, until: int) -> Pairs:
        copied = evidence.copies(store, name, role, hidden, since, until)
        live = evidence.beside(store, name, copied, seen, since, until) if copied else {}
        return evidence.pairs(task, copied, live, slower, evidence.said_since(said, state.tried), learnt)

    first = beside(CANDIDATE, candidate, previous, state.tried, turned)
    if state.stage == "shadow":
        return Evidence(pairs=first)
    before, after = (
        evidence.answers(store, name, previous, state.tried, turned),
        evidence.answers(store, name, candidate, turned, now),
    )
    earlier = evidence.median_ms(before)
    return Evidence(
        pairs=beside(PREVIOUS, previous, candidate, turned, now),
        answers=evidence.counted(after, candidate, None if earlier is None else slower * earlier),
        pairs_before=first,
        answers_before=evidence.counted(before, previous),
    )


def _learnt(p: "Pipeline", name: str, candidate: Pack) -> frozenset[str]:
    """Inputs that the candidate has learnt from; where its data set is not there any more, those of the one in force."""
    made_of = json.loads((Path(candidate.package) / MANIFEST).read_text("utf-8"))["inputs"].get("dataset")
    own = [one for one in p.store.versions(stages.DATASETS, name) if one.digest == made_of]
    dataset = own[0] if own else p.store.current(stages.DATASETS, name)
    if dataset is None:
        return frozenset()
    return frozenset(example.input_text for split in ("train", "val") for example in read_split(dataset.path, split))
