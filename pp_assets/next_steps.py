"""The stage that says what a task needs next, and keeps a log of it: keep, tune, change or escalate, with the numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.routing.facts import facts_of
from pp_assets.routing.next_step import next_step
from pp_assets.sources import source_digest
from pp_resources.artifacts import Artifact
from pp_resources.fingerprint import digest
from pp_resources.store.decide_once import write_after
from pp_resources.store.read_work import decisions_on
from pp_resources.store.work import Decision

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

KIND = "next_step"
UNDECLARED = {"action": None, "rule": None, "reason": "task.yaml declares no serving.standards: nothing says what is good enough"}


def next_step_of(p: "Pipeline", name: str) -> Artifact:
    """next_step.json. A decision that differs from the last one is also a row of the store (kind `next_step`)."""
    found = decided(p, name)
    inputs = {"known": digest(found), "code": source_digest("pp_assets.routing.facts", "pp_assets.routing.next_step")}

    def build(out: Path) -> Mapping[str, Any]:
        (out / "next_step.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return told(found)

    made = p.store.produce(stages.NEXT_STEPS, name, inputs, build)
    if found["action"] is not None:
        log(p, name, found)
    return made


def decided(p: "Pipeline", name: str) -> dict[str, Any]:
    """The step with its facts and standards, and what they are of; without standards `action` is None."""
    task = p.task(name)
    standards = task.spec.serving.standards if task.spec.serving else None
    if standards is None:
        return dict(UNDECLARED)
    about = facts_of(p, task, standards)
    step = next_step(about.facts, standards)
    return step.model_dump(mode="json") | {"variant": about.variant, "metric": about.metric}


def log(p: "Pipeline", name: str, found: Mapping[str, Any]) -> None:
    """Write the decision where it is another one than the last."""
    last = decisions_on(p.inbox.store, name, kind=KIND, limit=1) if p.inbox.store.exists else []
    if not last or last[0]["data"] != found:
        write_after(p.inbox.store, Decision(task=name, kind=KIND, data=dict(found)), last[0]["seq"] if last else 0)


def told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What people see of it first."""
    if found["action"] is None:
        return dict(UNDECLARED)
    facts = found["facts"]
    shown = {name: found[name] for name in ("action", "rule", "reason", "more", "variant", "metric")}
    for name in ("quality", "cost", "escalated"):
        known = facts[name] or {}
        shown |= {
            name: known.get("value"),
            f"{name}_low": known.get("low"),
            f"{name}_high": known.get("high"),
            f"{name}_n": known.get("n", 0),
        }
    return {**shown, "better": facts["better"], "drift": facts["drift"], "new_examples": facts["new_examples"]}
