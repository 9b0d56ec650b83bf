"""What tokens cost."""

from dataclasses import dataclass
from datetime import date

from pp_resources.errors import UserError


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens, and since when that price is known."""

    usd_in: float
    usd_out: float
    since: date | None = None

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """US dollars of so many tokens."""
        return (tokens_in * self.usd_in + tokens_out * self.usd_out) / 1e6


def both(usd_in: float | None, usd_out: float | None, where: str) -> Price | None:
    """The price of a million tokens read and written, None where neither is given. Raises UserError where one of them is."""
    if (usd_in is None) != (usd_out is None):
        raise UserError("one price of two is given", where=where, how="give both: an answer has tokens read and written")
    return Price(usd_in, usd_out) if usd_in is not None and usd_out is not None else None
