"""The stage that decides whether generated rows are trained on, and proves on the test split what they are worth."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.pipeline import base_digest, read_json, rows_digest, training_spec
from pp_assets.sources import source_digest
from pp_assets.training.overrides import recipe_of
from pp_assets.training.recipes import RECIPES, check_variant
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task

MODULES = ("pp_assets.data.generation.proof", "pp_assets.training.loop", "pp_assets.training.encoder")
DEFAULT = "encoder-lora"


def generation_choice(p: "Pipeline", name: str, *, proof: bool = False) -> Artifact:
    """choice.json: whether generated rows are used, and why; with answers and a data card where sides were trained.

    A task that says yes or no gets that. With `auto`, or a `proof`, an encoder is trained with and without them, several seeds each, and
    the validation rows decide; a proof then also opens the test split and tells the paired gain there.
    """
    task, rows = p.task(name), p.kept_rows(name)
    wanted = task.spec.generation.enabled
    inputs = {"wanted": str(wanted), "generated": rows_digest(rows.generated), "proof": str(proof)}
    if wanted != "auto" and not proof:
        return p.store.produce(stages.CHOICES, name, inputs, lambda out: _write(out, _stated(task, len(rows.generated))))
    variant, why_not = comparable(task, rows.train)
    if why_not or not rows.generated or not rows.val:
        reason = why_not or ("no generated row was kept" if not rows.generated else "there are no validation rows to decide on")
        if proof:
            raise UserError(f"nothing to compare: {reason}", where=f"task {name}", how="see pp generate")
        return p.store.produce(stages.CHOICES, name, inputs | {"why": reason}, lambda out: _write(out, _not_compared(reason)))
    recipe, spec = recipe_of(task, variant), task.spec
    inputs |= {"train": rows_digest(rows.train), "val": rows_digest(rows.val), "spec": training_spec(task, recipe.family)}
    inputs |= {
        "recipe": digest([recipe.name, repr(recipe.params)]),
        "base": base_digest(spec.encoder_model_id),
        "code": source_digest(*MODULES),
    }
    proven = inputs | {"proof": "True"}
    # A proof has made the same choice, and more.
    current = p.store.current(stages.CHOICES, name)
    inputs = proven if current and current.inputs == proven else inputs
    generated, dataset = p.current(stages.GENERATED, name), p.current(stages.DATASETS, name)

    def build(out: Path) -> Mapping[str, Any]:
        from pp_assets.data.generation.card import write_card
        from pp_assets.data.generation.proof import ARMS, WITH, WITHOUT, Rows, answers, compared, decide, line_of
        from pp_assets.evaluation.predictions import SUFFIX, write_predictions
        from pp_assets.task.examples import open_test_split

        asked = {"val": rows.val}
        if proof:
            asked["test"] = open_test_split(dataset.path, p.ledger, name, "proof of generated rows")
        work = p.settings.home / "work" / name / "generation" / digest(inputs)[:16]
        sides = Rows(rows.train, rows.generated, rows.val, asked)
        arms = ARMS if proof else (WITHOUT, WITH)
        said = answers(spec, recipe, sides, spec.generation.seeds, threads=p.settings.threads, work=work, arms=arms)
        for split, sides_of in said.items():
            for arm, seeds in sides_of.items():
                for seed, answered in seeds.items():
                    write_predictions(out / "predictions" / split / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}{SUFFIX}", answered)
        choice = decide(spec, said["val"]) | {"variant": variant, "seeds": spec.generation.seeds}
        if proof:
            tested = compared(spec, said["test"])
            choice["test"] = {arm: {**one.__dict__} for arm, one in tested.items()}
            choice["lines"] = [choice["reason"], *(f"test split: {line_of(one, arm)}" for arm, one in tested.items())]
        else:
            choice["lines"] = [choice["reason"]]
        write_card(read_json(generated.file("generation.json")), out, choice)
        shutil.rmtree(work, ignore_errors=True)
        return _write(out, choice)

    return p.store.produce(stages.CHOICES, name, inputs, build)


def comparable(task: "Task", train: Any) -> tuple[str, str]:
    """(the variant that is trained for the comparison, "") or ("", why there is none)."""
    own = [v for v in task.spec.variants if RECIPES[v].family == "encoder" and recipe_of(task, v).trained.__dict__.get("r")]
    variant = own[0] if own else DEFAULT
    problems = check_variant(recipe_of(task, variant), task.output_schema, train)
    return ("", problems[0]) if problems else (variant, "")


def _stated(task: "Task", rows: int) -> dict[str, Any]:
    use = task.spec.generation.enabled is True
    reason = f"the task says so: {rows} generated rows are {'used' if use else 'not used'}"
    return {"use": use, "reason": reason, "lines": [reason]}


def _not_compared(reason: str) -> dict[str, Any]:
    told = f"generated rows are left out: {reason}"
    return {"use": False, "reason": told, "lines": [told]}


def _write(out: Path, choice: dict[str, Any]) -> dict[str, Any]:
    (out / "choice.json").write_text(json.dumps(choice, indent=1) + "\n", "utf-8")
    return {k: v for k, v in choice.items() if k in ("use", "reason", "lines", "variant", "seeds")} | _numbers(choice)


def _numbers(choice: Mapping[str, Any]) -> dict[str, Any]:
    found = {"validation": choice.get("comparison"), **{f"test {arm}": one for arm, one in choice.get("test", {}).items()}}
    return {f"gain, {k}": {n: one[n] for n in ("metric", "n", "effect", "low", "high", "p_value")} for k, one in found.items() if one}
