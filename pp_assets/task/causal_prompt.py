"""The prompt of a task as a causal model reads it; of training and of answering alike."""

from collections.abc import Sequence

from pp_assets.task.prompt import Shot, split_prompt
from pp_assets.task.spec import TaskSpec
from pp_resources.models.causal_prompt import Prompt, PromptEncoder

# Tokenised when an adapter is made and again when it is loaded: a template or tokenizer that has changed shows.
PROMPT_PROBE = 'Größe 12: was "late"\n(order A-7)?'


def prompt_of(spec: TaskSpec, examples: Sequence[Shot] = ()) -> Prompt:
    """The prompt of a task for a causal model, with few-shot examples where given."""
    return Prompt(spec.system_prompt, *split_prompt(spec, examples))


def golden_prompt(encoder: PromptEncoder) -> list[list[int]]:
    """The token ids of a whole prompt, what all inputs share and the rest: what the model has learnt to answer to."""
    return [encoder.prefix_ids, encoder.suffix_ids(PROMPT_PROBE)]
