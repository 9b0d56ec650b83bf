"""What a task's validation rules ask of beside the answers of a model: its prompt, and whether a suite found bias."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.rules import bias_found
from pp_assets.pipeline import read_json
from pp_assets.prompts.quality import PromptQuality, prompt_quality
from pp_assets.task.spec import TaskSpec
from pp_resources.artifacts import Artifact
from pp_resources.models.tokens import token_counter

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


def measured(p: "Pipeline", spec: TaskSpec, trained: Artifact, dataset: Artifact) -> dict[str, Any] | None:
    """`prompt` and `bias` for `build_report`, as far as the rules ask for them; None without rules."""
    rules = spec.validation_rules
    if rules is None:
        return None
    prompt = quality_of(spec).as_dict() if rules.prompt_quality and reads_prompt(trained) else None
    bias = _bias(p, trained, dataset) if any(rule.bias_checks for rule in rules.evaluation_validity) else None
    return {"prompt": prompt, "bias": bias}


def quality_of(spec: TaskSpec) -> PromptQuality:
    """The measures of a task's own prompt, in tokens of its causal base."""
    return prompt_quality(spec, spec.system_prompt, spec.instruction_template, token_counter(spec.base_model_id))


def reads_prompt(trained: Artifact) -> bool:
    """Whether an adapter, or a member of an ensemble, is of a model that is told what to do."""
    from pp_assets.training.recipes import get_recipe

    members = trained.metadata.get("members") or [trained.key.partition("/")[2]]
    return any(get_recipe(member).family == "causal" for member in members)


def _bias(p: "Pipeline", trained: Artifact, dataset: Artifact) -> Mapping[str, str] | None:
    """The word of the newest comprehensive suite of these weights on this data, whatever report it was made beside."""
    suites = p.store.versions(stages.SUITES, trained.key)
    mine = [one for one in suites if (one.inputs["adapter"], one.inputs["dataset"]) == (trained.digest, dataset.digest)]
    return bias_found(read_json(mine[-1].file("suite.json"))) if mine else None
