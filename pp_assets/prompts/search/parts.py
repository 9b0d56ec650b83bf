"""The parts of a search by name: what it is tried on, who proposes, what may not be tried, in which way it searches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin, Proposer
from pp_assets.prompts.prompted import BaseTarget, ChatTarget, Target
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.strategy import Strategy
from pp_assets.prompts.wording import Shown, Wording
from pp_assets.task.causal_prompt import PROMPT_PROBE
from pp_assets.task.examples import Example
from pp_resources.errors import UserError, nearest
from pp_resources.models.chat import ChatModel

if TYPE_CHECKING:
    from pp_assets.task.spec import Task
    from pp_resources.settings import Settings

BASE = "base"
STRATEGIES: dict[str, Callable[[Callable[[Judged], bool]], Strategy]] = {"halving": lambda until: Halving(until=until)}


def strategy_named(name: str, until: Callable[[Judged], bool]) -> Strategy:
    """A way of searching; `until` ends it when it holds for the best candidate. Raises UserError."""
    if name not in STRATEGIES:
        raise UserError(f"no strategy {name!r}", where="strategy", how=nearest(name, STRATEGIES))
    return STRATEGIES[name](until)


def model_named(name: str, settings: "Settings") -> ChatModel:  # noqa: ARG001
    """A model that is asked by messages. Raises UserError where there is none of this name."""
    from pp_assets.prompts.search.environment import chat_model_from_env

    return chat_model_from_env(name)


def target_named(name: str, task: "Task", train: Sequence[Example], settings: "Settings") -> Target:
    """`base` is the task's base language model on this machine; anything else a model by its name."""
    if name != BASE:
        return ChatTarget(model_named(name, settings), task.spec.decoding.max_new_tokens)
    from pp_assets.base_systems import Base, answer_budget

    base = Base(task.spec.base_model_id, settings.device)
    return BaseTarget(base, task.spec.base_model_id, answer_budget(task, train, base.tokenizer), task.spec.decoding.constrained)


def longest_prompt(target: Target) -> int | None:
    """Tokens that a prompt without its input may have, so that half of a local model's context is left; None where nobody knows."""
    return target.base.context // 2 - target.budget if isinstance(target, BaseTarget) else None


def proposers() -> list[Proposer]:
    """All that make candidates, those that need no model first."""
    return [Drawn(count) for count in (1, 2, 4, 8)]


def guards(ground: Ground, candidate: Candidate) -> list[str]:
    """Why a candidate may not be tried."""
    most = ground.options.get("max_prompt_tokens")
    text = "\n".join(message["content"] for message in candidate.wording.messages(ground.spec, PROMPT_PROBE))
    over = 0 if most is None else ground.count_tokens(text) - most
    return [f"it is {over} tokens longer than a prompt may be"] if over > 0 else []


@dataclass(frozen=True)
class Drawn:
    """Examples of the training rows in the prompt, drawn by the seed."""

    shots: int
    source: str = "demonstrations:drawn"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        from pp_assets.base_systems import few_shot

        best = parents[0].candidate
        found = []
        for place in range(count):
            drawn = few_shot(ground.train, self.shots, seed * 1000 + place)
            shots = tuple(Shown(row.input_text, row.output, item_id=row.item_id) for row in drawn)
            wording = Wording(best.wording.system, best.wording.template, shots, best.wording.reasoned)
            found.append(Candidate.of(ground.spec, wording, Origin(self.source, (best.id,), f"{len(shots)} examples")))
        return found
