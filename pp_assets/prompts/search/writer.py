"""A model that writes proposals, as one whose answers are kept and counted: a search that was killed proposes what it proposed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from pp_assets.experiment.experiment import Experiment
from pp_assets.experiment.ops import Out, op
from pp_assets.experiment.store import CellStore
from pp_assets.prompts.search.account import Account, refuse_unpriced
from pp_resources.fingerprint import digest
from pp_resources.models.chat import AskOptions, AsksMany, ChatModel, Messages, Reply
from pp_resources.models.price import Price

BATCH = 4  # answers that a kill may cost


@op(version="1", batch=("asked", BATCH), sampled=False)
def write(model: Any, asked: Sequence[Mapping[str, Any]]) -> list[Out]:
    """The step that asks; all requests of one call differ in their messages alone."""
    how = {name: value for name, value in asked[0].items() if name != "messages"}
    replies = model.ask_all([one["messages"] for one in asked], **how)
    return [Out(list(one), one.tokens_in, one.tokens_out) for one in replies]


@dataclass(frozen=True)
class KeptWriter(AsksMany):
    """`model` as a ChatModel whose answers are cells of `store` and calls of `account`. Raises BudgetSpent before a call that would pass
    its budget, and UserError for a budget in dollars where the model's price is not known."""

    model: ChatModel
    store: CellStore
    account: Account

    def __post_init__(self) -> None:
        if self.account.budget.usd is not None:
            refuse_unpriced(self.model)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def price(self) -> Price | None:
        return self.model.price

    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]:
        schema = how.get("schema")
        said = {
            "schema": schema and dict(schema),
            "temperature": how.get("temperature", 0.0),
            "seed": how.get("seed", 0),
            "max_tokens": how.get("max_tokens"),
        }
        requests = [{"messages": [dict(message) for message in messages], **said} for messages in asked]
        found: list[Reply] = []
        for start in range(0, len(requests), BATCH):
            found += self._some(requests[start : start + BATCH])
        return found

    def _some(self, requests: Sequence[Mapping[str, Any]]) -> list[Reply]:
        keys = [digest([self.identity, request], ordered=True)[:32] for request in requests]
        different = dict(zip(keys, requests, strict=True))
        exp = Experiment([{"id": key, "asked": request} for key, request in different.items()], store=self.store)
        exp = exp.vary(model=[self.model]).step("written", write)
        state = exp.grid().look(exp.steps["written"])
        there = set(state.missing(retry=True))
        missing = {key for key, cell in zip(different, state.keys.ravel().tolist(), strict=True) if cell in there}
        owed = [key for key in different if self.account.owed(key, key not in missing)]
        self.account.afford(len(owed))
        self.account.intend([key for key in owed if key in missing])
        said = exp.run(workers=1, on_error="raise").df["written"]
        replies = {key: Reply(*value) for key, value in zip(different, said, strict=True)}
        for key in owed:
            self.account.count(key, replies[key].tokens_in, replies[key].tokens_out, self.price)
        return [replies[key] for key in keys]
