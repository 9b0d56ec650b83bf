"""What a search has bought, to the call: within its budget, and the same whether it was killed on the way or not."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pp_resources.errors import UserError
from pp_resources.models.price import Price

_MANY = 2**53


class BudgetSpent(Exception):
    """What was asked for would pass the budget; nothing of it was bought."""


@dataclass(frozen=True)
class Budget:
    """The most model calls, tokens (read and written) and US dollars of a search. None: no limit."""

    calls: int | None = 1000
    tokens: int | None = None
    usd: float | None = None


class Account:
    """Counts calls, tokens and cost of one search.

    Keys of what is about to be bought are on the disk (`ledger`) before it is. A search that was killed is run again from its beginning:
    an answer that is kept and stands in the ledger is counted when it is asked for again, so that the search decides as it did; one that
    stands there and is not kept was in flight, and is bought again. Answers that others bought are free.
    """

    def __init__(self, budget: Budget, ledger: Path | None = None) -> None:
        self.budget, self._ledger = budget, ledger
        self.calls = self.tokens = 0
        self.cost: float | None = 0.0
        self._mine: set[str] = set(_read(ledger)) if ledger else set()
        self._counted: set[str] = set()

    @property
    def goes_on(self) -> bool:
        """Whether the ledger holds calls of a run before this one, which was stopped or had less to spend."""
        return bool(self._mine - self._counted)

    def owed(self, key: str, kept: bool) -> bool:
        """Whether an answer is still to be counted."""
        return key not in self._counted and (not kept or key in self._mine)

    @property
    def left(self) -> int:
        """Calls that may still be made, those by tokens and dollars at what a call took so far."""
        return max(0, min(self._rooms()))

    def afford(self, calls: int) -> None:
        """Raises BudgetSpent where so many calls would pass the budget."""
        if calls and calls > self.left:
            raise BudgetSpent(f"{calls} calls would pass the budget: {self.left} are left of {self._told()}")

    def intend(self, keys: Sequence[str]) -> None:
        """These are about to be bought; on the disk when it returns."""
        new = [key for key in keys if key not in self._mine]
        self._mine.update(new)
        if self._ledger and new:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            with self._ledger.open("ab+") as out:
                # A line that was cut off must not swallow this one.
                if out.tell() and (out.seek(-1, os.SEEK_END), out.read(1))[1] != b"\n":
                    out.write(b"\n")
                out.write(json.dumps(new).encode() + b"\n")
                out.flush()
                os.fsync(out.fileno())

    def count(self, key: str, tokens_in: int, tokens_out: int, price: Price | None) -> None:
        """An answer that was owed."""
        self._counted.add(key)
        self.calls += 1
        self.tokens += tokens_in + tokens_out
        self.cost = None if self.cost is None or price is None else self.cost + price.of(tokens_in, tokens_out)

    def _rooms(self) -> list[int]:
        budget, each = self.budget, max(1, self.calls)
        rooms = [_MANY if budget.calls is None else budget.calls - self.calls]
        for most, spent in ((budget.tokens, float(self.tokens)), (budget.usd, self.cost or 0.0)):
            if most is not None and spent > 0:  # until something was bought nobody knows what a call takes
                rooms.append(int((most - spent) / (spent / each)))
        return rooms

    def _told(self) -> str:
        budget = self.budget
        named = ((budget.calls, "calls"), (budget.tokens, "tokens"), (budget.usd, "US dollars"))
        return ", ".join(f"{most:g} {what}" for most, what in named if most is not None)


class Priced(Protocol):
    """A model, or what answers by one."""

    @property
    def name(self) -> str: ...
    @property
    def price(self) -> Price | None: ...


def refuse_unpriced(model: Priced) -> None:
    """Raise UserError for a model that no budget in dollars can hold."""
    if model.price is None:
        raise UserError(
            "a budget in dollars, and nobody said what this model costs",
            where=model.name,
            how="give its price in providers.yaml, or --calls instead",
        )


def _read(ledger: Path) -> list[str]:
    if not ledger.exists():
        return []
    found: list[str] = []
    for line in ledger.read_bytes().splitlines():
        try:
            found += json.loads(line)
        except ValueError:
            continue  # cut off by a kill: what it names was not bought yet
    return found
