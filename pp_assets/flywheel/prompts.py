"""What the search of a prompt is decided by, read from store and files: demonstrations, the data in force, what was found last."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pp_assets import pipeline as stages
from pp_assets.flywheel.policy import Flywheel
from pp_assets.flywheel.state import Prompted, Searched, State
from pp_assets.serving.spec import Remote
from pp_assets.task.spec import Task
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.store.ids import iso, micros
from pp_resources.store.read_feedback import Said

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


def prompted(p: "Pipeline", task: Task, policy: Flywheel, state: State, said: Sequence[Said]) -> Prompted:
    """Nothing of it where the task wants no searches. Raises StoreUnavailable."""
    if policy.prompts is None:
        return Prompted()
    from pp_assets.prompts.optimising import Wanted, check_wanted, newest

    wanted, cannot = Wanted.of(policy.prompts.asked), ""
    try:
        check_wanted(p, task.name, wanted, ask=False)  # it looks all the time, and a network that fails now and then decides nothing
    except UserError as error:
        cannot = str(error)
    dataset, found = p.store.current(stages.DATASETS, task.name), newest(p, task.name, wanted)
    return Prompted(
        new=sum(one.seq > state.search.to for one in said),
        dataset="" if dataset is None else dataset.digest,
        ready=state.search.stage == "data" and dataset is not None and _ready(p, task.name, dataset, state.search.to, said),
        cannot=cannot,
        found=None if found is None else _searched(p, task, found),
    )


def holds(dataset: Artifact, one: Said) -> bool:
    """Whether a data set was made with a demonstration: what is on the disk before it is made is read."""
    return iso(one.at) <= dataset.created_at


def _ready(p: "Pipeline", name: str, dataset: Artifact, to: int, said: Sequence[Said]) -> bool:
    """Every demonstration up to that number is in it, and what trainings read is made from it: evaluated rows, the choice among them."""
    if not all(holds(dataset, one) for one in said if one.seq <= to):
        return False
    contract, inputs = (p.store.current(kind, name) for kind in (stages.CONTRACTS, stages.INPUTS))
    if contract is None or inputs is None:
        return False
    if contract.inputs.get("dataset") != dataset.digest or inputs.inputs.get("dataset") != dataset.digest:
        return False
    try:
        return bool(p.training_rows(name).train)
    except UserError:
        return False


def _searched(p: "Pipeline", task: Task, made: Artifact) -> Searched:
    told = made.metadata
    return Searched(
        at=micros(datetime.fromisoformat(made.created_at)),
        dataset=made.inputs["dataset"],
        verdict=told["verdict"],
        reason=" ".join(told["reasons"]),
        gain=told["test_effect"],
        calls=told["calls"] + told["test_calls"],
        usd=None if told["cost_usd"] is None or told["test_cost_usd"] is None else told["cost_usd"] + told["test_cost_usd"],
        command=_command(p, task, made) if told["released"] and not _in_use(task, made) else "",
    )


def _command(p: "Pipeline", task: Task, made: Artifact) -> str:
    """What puts it into the task. A target that is no base is asked by a remote variant, mostly that of the same model."""
    from pp_assets.prompts.applying import named
    from pp_assets.prompts.search.parts import BASE

    asked, variants = made.metadata["asked"], task.spec.serving.variants if task.spec.serving else {}
    words = ["pp", "prompt", "apply", task.name]
    if asked != BASE:
        remotes = {name: one.model for name, one in variants.items() if isinstance(one, Remote)}
        same = [name for name, model in remotes.items() if asked.endswith(model)]
        # A model that can be asked by its name alone needs no variant to go by.
        of = next(iter(same), None) or (None if named(asked, p.settings) else next(iter(remotes), "VARIANT"))
        words += ["--target", asked, *(["--of", of] if of else [])]
    return shlex.join(words)


def _in_use(task: Task, made: Artifact) -> bool:
    """Whether these words are the task's own, or those of a variant."""
    from pp_assets.prompts.search.export import read_prompt
    from pp_assets.prompts.wording import Wording
    from pp_assets.serving.local import served_wording

    spec, scored = task.spec, read_prompt(made.file("prompt.json"))["digest"]
    variants = spec.serving.variants.values() if spec.serving else ()
    worded = [one for one in variants if hasattr(one, "instruction_template")]
    return scored in {Wording.of(spec).digest(spec), *(served_wording(spec, one).digest(spec) for one in worded)}
