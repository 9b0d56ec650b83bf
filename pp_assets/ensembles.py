"""The stage that fits an ensemble: trained variants of a task behind one combiner. It reads validation rows, never a test row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.pipeline import rows_digest, training_spec
from pp_assets.result_facts import version_tags
from pp_assets.sources import source_digest
from pp_assets.training.params import EnsembleParams
from pp_assets.training.recipes import RECIPES, Recipe, get_recipe
from pp_resources.artifacts import Artifact
from pp_resources.device import device_kind
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.evaluation.predictions import System
    from pp_assets.pipeline import Pipeline, Training
    from pp_assets.task.examples import Example
    from pp_assets.task.spec import Task


def ensemble(p: "Pipeline", task: "Task", recipe: Recipe, rows: "Training") -> Artifact:
    """combiner.json, members/<variant>/ (all that each is loaded from), training.json, metrics.jsonl."""
    params = with_members(task, recipe)
    members = {name: trained_member(p, task, name, rows) for name in params.members}
    inputs = {f"member.{name}": member.digest for name, member in members.items()}
    inputs |= {"train": rows_digest(rows.train), "val": rows_digest(rows.val), "spec": training_spec(task)}
    inputs |= {"device": device_kind(p.settings.device), "recipe": digest([recipe.family, asdict(params)])}
    inputs |= {"code": source_digest("pp_assets.training.ensemble")}

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.answers import answers
        from pp_assets.evaluation.outputs import OutputReader
        from pp_assets.evaluation.scoring import Scoring
        from pp_assets.training.ensemble import fit_ensemble, write_ensemble

        scoring = Scoring.of(task.spec)
        texts = [row.input_text for row in rows.val]
        said = {name: answers(p, task, member, texts)[0] for name, member in members.items()}
        with p.tracker.run(task.name, recipe.name, "training") as run:
            run.tags(version_tags(task, p.current(stages.DATASETS, task.name), inputs["code"]))
            run.params({"recipe": recipe.name, "family": recipe.family, "strategy": params.strategy, "members": ", ".join(members)})
            combiner, found = fit_ensemble(OutputReader(scoring.schema, scoring.compare), params, rows.val, said, task.spec.seed)
            leader = combiner.members[combiner.order[0]]
            record = _record(task, replace(recipe, params=params), members, leader, found, p.settings.threads)
            record |= {"train_rows": len(rows.train), "val_rows": len(rows.val)}
            write_ensemble(out, combiner, {name: member.path for name, member in members.items()}, record)
            run.summary({f"train.{k}": v for k, v in found.items() if isinstance(v, float)})
            run.file(out / "training.json", "training")
            return {**found, "members": list(members), "train_rows": len(rows.train), "mlflow": run.where}

    return p.store.produce(stages.ADAPTERS, f"{task.name}/{recipe.name}", inputs, build)


def with_members(task: "Task", recipe: Recipe) -> EnsembleParams:
    """The parameters of an ensemble with its members named. Raises UserError for fewer than two, or for one that is an ensemble."""
    assert isinstance(recipe.params, EnsembleParams)
    where = f"{task.file}: params.{recipe.name}.members"
    members = recipe.params.members or [v for v in task.spec.variants if v in RECIPES and RECIPES[v].family != "ensemble"]
    for member in members:
        if get_recipe(member, where).family == "ensemble":
            raise UserError(f"{member} is an ensemble itself", where=where, how="name trained variants")
    if len(set(members)) < 2 or len(set(members)) < len(members):
        raise UserError(f"needs two or more different members, has {', '.join(members) or 'none'}", where=where, how="name them there")
    return replace(recipe.params, members=list(members))


def trained_member(p: "Pipeline", task: "Task", variant: str, rows: "Training") -> Artifact:
    """The adapter of a member. Its first training is asked for by a person, but one of other rows is trained again here: it may have seen
    those that weights are fitted on, and new data starts all trainings of a task in no certain order."""
    found = p.current(stages.ADAPTERS, f"{task.name}/{variant}")
    if (found.inputs["train"], found.inputs["val"]) != (rows_digest(rows.train), rows_digest(rows.val)):
        return p.adapter(task.name, variant)
    return found


def member_artifacts(p: "Pipeline", adapter: Artifact) -> dict[str, Artifact]:
    """The members of an ensemble by name, in order, as they were when it was fitted; nothing for another adapter."""
    wanted = {name.removeprefix("member."): digest for name, digest in adapter.inputs.items() if name.startswith("member.")}
    if not wanted:
        return {}
    task = adapter.key.partition("/")[0]
    there = {one.digest: one for name in wanted for one in p.store.versions(stages.ADAPTERS, f"{task}/{name}")}
    gone = sorted(name for name, digest in wanted.items() if digest not in there)
    if gone:
        raise UserError(f"its members {', '.join(gone)} are no longer stored", where=adapter.key, how="train it again")
    return {name: there[wanted[name]] for name in adapter.metadata["members"]}


def member_systems(p: "Pipeline", task: "Task", adapter: Artifact, test: Sequence["Example"]) -> list["System"]:
    """The members' own answers to the test items, which an ensemble has to beat; their tokens and times stand beside its own."""
    from pp_assets.answers import answers
    from pp_assets.evaluation.predictions import System, make_rows
    from pp_resources.json_schema import dump_output

    found = []
    for name, member in member_artifacts(p, adapter).items():
        predictions, _ = answers(p, task, member, [row.input_text for row in test])
        rows = make_rows(test, predictions, lambda output: dump_output(task.output_schema, output))
        found.append(System(name=name, kind="baseline", description=f"A member, alone. {get_recipe(name).description}", rows=rows))
    return found


def members_first(variants: Sequence[str]) -> list[str]:
    """The same variants, ensembles after all others."""
    return sorted(variants, key=lambda v: v in RECIPES and RECIPES[v].family == "ensemble")


def _record(
    task: "Task", recipe: Recipe, members: Mapping[str, Artifact], leader: str, found: dict[str, Any], threads: int
) -> dict[str, Any]:
    """training.json of an ensemble: what packages and cards read of any adapter, and what each member was made from. The `leader` is the
    member that is best on validation rows; the base is its base."""
    trained = {name: stages.read_json(member.file("training.json")) for name, member in members.items()}
    kept = ("family", "base_model_id", "base_weights_sha256", "trainable_parameters", "seed", "epochs", "best_epoch")
    bases = {key: trained[leader][key] for key in ("base_model_id", "base_weights_sha256")}
    return {
        "family": recipe.family,
        "variant": recipe.name,
        "leader": leader,
        **bases,
        "params": asdict(recipe.params),
        "seed": task.spec.seed,
        "threads": threads,
        "device": trained[leader]["device"],
        "members": {name: {"adapter": members[name].digest, **{k: one[k] for k in kept}} for name, one in trained.items()},
        "trainable_parameters": sum(one["trainable_parameters"] for one in trained.values()),
        "bf16_autocast": any(one["bf16_autocast"] for one in trained.values()),
        "fitted_on": "validation",
        **found,
        "history": [],
    }
