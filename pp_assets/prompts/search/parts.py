"""The parts of a search by name: what it is tried on, who proposes, in which way it searches."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pp_assets.prompts.candidate import Judged, Proposer
from pp_assets.prompts.prompted import BaseTarget, ChatTarget, Target
from pp_assets.prompts.propose.complaints import Complaints
from pp_assets.prompts.propose.demonstrations import Demonstrations
from pp_assets.prompts.propose.grounded import Grounded
from pp_assets.prompts.propose.operators import Operators
from pp_assets.prompts.propose.reflection import Reflection
from pp_assets.prompts.propose.variation import Crossover, Variation
from pp_assets.prompts.search.account import Budget, refuse_unpriced
from pp_assets.prompts.search.gepa import Gepa
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.mipro import Mipro
from pp_assets.prompts.search.strategy import Strategy
from pp_assets.providers import chat_model
from pp_assets.task.examples import Example
from pp_resources.errors import UserError, nearest
from pp_resources.models.bases import find_base
from pp_resources.models.remote import Provider

if TYPE_CHECKING:
    from pp_assets.task.spec import Task
    from pp_resources.settings import Settings

BASE = "base"
HALVING = Halving.name
STRATEGIES: dict[str, Callable[..., Strategy]] = {one.name: one for one in (Halving, Mipro, Gepa)}


def strategy_named(name: str, until: Callable[[Judged], bool] | None = None) -> Strategy:
    """A way of searching; `until` ends it when it holds for the best candidate. Raises UserError."""
    if name not in STRATEGIES:
        raise UserError(f"no strategy {name!r}", where="strategy", how=nearest(name, STRATEGIES))
    return STRATEGIES[name]() if until is None else STRATEGIES[name](until=until)


def target_named(name: str, task: "Task", train: Sequence[Example], settings: "Settings") -> Target:
    """`base` is the task's base language model on this machine; anything else a model by its name."""
    if name != BASE:
        return ChatTarget(chat_model(name, settings), task.spec.decoding.max_new_tokens)
    from pp_assets.base_systems import Base, answer_budget

    base = Base(task.spec.base_model_id, settings.device)
    return BaseTarget(base, task.spec.base_model_id, answer_budget(task, train, base.tokenizer), task.spec.decoding.constrained)


def check_models(target: str, writer: str | None, task: "Task", settings: "Settings", *, ask: bool = True) -> None:
    """Raise UserError for a target or a writer that is not to be had, before any data is read; nothing is loaded. With `ask` providers are
    asked for what they serve, too."""
    if target == BASE:
        find_base(task.spec.base_model_id)
    for name in dict.fromkeys(one for one in (None if target == BASE else target, writer) if one):
        model = chat_model(name, settings)
        if ask and isinstance(model, Provider):
            model.check()


def check_budget(target: str, writer: str | None, budget: Budget, settings: "Settings") -> None:
    """Raise UserError for a budget in dollars that a model without a price cannot be held to, and for one alone where nothing that would be
    asked costs any: it would bound nothing."""
    if budget.usd is None:
        return
    models = [chat_model(name, settings) for name in (target, writer) if name and name != BASE]
    for model in models:
        refuse_unpriced(model)
    costs = any(model.price and (model.price.usd_in or model.price.usd_out) for model in models)
    if not costs and (budget.calls, budget.tokens) == (None, None):
        what = "costs nothing, so that a budget in US dollars bounds nothing"
        raise UserError(what, where=f"model {target!r}", how="bound it by --calls, or by --tokens")


def longest_prompt(target: Target) -> int | None:
    """Tokens that a prompt without its input may have, so that half of a local model's context is left; None where nobody knows."""
    return target.base.context // 2 - target.budget if isinstance(target, BaseTarget) else None


def proposers(writer: bool) -> list[Proposer]:
    """All that make candidates, those first of which most comes: a round has room for few. Where there is a `writer`, those that ask it,
    too."""
    if not writer:
        return [Demonstrations(), Operators(), Crossover(), Variation()]
    first: list[Proposer] = [Reflection(together=True), Demonstrations(), Reflection(), Operators()]
    return [*first, Complaints(), Crossover(), Grounded(), Variation()]
