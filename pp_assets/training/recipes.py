"""Variants: named training recipes shared by all tasks. A variant is a recipe, never a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pp_assets.training.params import CausalParams, EncoderParams, EnsembleParams
from pp_resources.errors import UserError, nearest


@dataclass(frozen=True)
class Recipe:
    """One way to specialise a model. `params` fixes everything but the data, the base and the seed; `runs_in` are the runtimes that take
    what it makes, on a Llama (what `packaging.lint` says of it; "merged" is any of them, after merging)."""

    name: str
    family: Literal["encoder", "causal", "ensemble"]
    description: str
    params: EncoderParams | CausalParams | EnsembleParams
    runs_in: tuple[str, ...] = ("transformers",)

    @property
    def trained(self) -> EncoderParams | CausalParams:
        """The parameters of a recipe that trains weights, which those of an ensemble do not."""
        assert not isinstance(self.params, EnsembleParams)
        return self.params


EVERYWHERE = ("transformers", "vllm", "ollama", "llama.cpp", "merged")

_ALL = [
    Recipe("encoder-lora", "encoder", "Sentence encoder with LoRA and heads compiled from the output schema", EncoderParams()),
    Recipe(
        "encoder-frozen",
        "encoder",
        "The same heads on the frozen encoder: what the base alone can do",
        EncoderParams(r=0, lr=0.0, epochs=40, least_steps=9, head_lr=5e-3),
    ),
    Recipe("lora-r8", "causal", "Causal language model with LoRA of rank 8 on every linear layer", CausalParams(r=8, alpha=16), EVERYWHERE),
    Recipe(
        "lora-r16", "causal", "Causal language model with LoRA of rank 16 on every linear layer", CausalParams(r=16, alpha=32), EVERYWHERE
    ),
    Recipe(
        "lora-r64-rs",
        "causal",
        "LoRA of rank 64, scaled by the root of the rank so that it learns as fast as a small one",
        CausalParams(r=64, alpha=16, rslora=True),
        ("transformers", "vllm", "merged"),
    ),
    Recipe(
        "dora-r16",
        "causal",
        "LoRA of rank 16 that also trains the length of each column of a weight (DoRA)",
        CausalParams(r=16, alpha=32, dora=True),
        ("transformers", "merged"),
    ),
    Recipe(
        "alora-r16",
        "causal",
        "LoRA of rank 16 that begins after the instruction, which stays with the base: faster to train, and many tasks share one base",
        CausalParams(r=16, alpha=32, activated=True),
        ("transformers", "llama.cpp"),
    ),
    Recipe("ensemble-vote", "ensemble", "Trained variants vote on each field", EnsembleParams("vote")),
    Recipe(
        "ensemble-weighted",
        "ensemble",
        "The same, each vote weighted by how often its member is right on validation rows",
        EnsembleParams("weighted"),
    ),
    Recipe(
        "ensemble-stack",
        "ensemble",
        "The same, weighted by a logistic regression on who says a value and how sure they are, fitted on validation rows",
        EnsembleParams("stack"),
    ),
    Recipe(
        "ensemble-route",
        "ensemble",
        "Trained variants are asked one after the other until one is sure enough; the surest answer counts",
        EnsembleParams("route"),
    ),
]
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def get_recipe(name: str, where: str = "variant") -> Recipe:
    """The recipe of a variant; an unknown name is a UserError with the nearest match."""
    if name not in RECIPES:
        raise UserError(f"unknown variant {name!r}", where=where, how=nearest(name, RECIPES))
    return RECIPES[name]


def check_variant(recipe: Recipe, output_schema: Mapping[str, Any], examples: Sequence[Any]) -> list[str]:
    """Why this recipe cannot learn this output, one sentence a field; empty when it can. `examples` have `input_text` and `output`."""
    if recipe.family != "encoder":
        return []
    from pp_resources.models.encoder.conventions import data_problems

    return data_problems(output_schema, [(e.input_text, e.output) for e in examples])
