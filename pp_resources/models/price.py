"""What tokens cost."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Price:
    """US dollars a million tokens, and since when that price is known."""

    usd_in: float
    usd_out: float
    since: date | None = None

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """US dollars of so many tokens."""
        return (tokens_in * self.usd_in + tokens_out * self.usd_out) / 1e6
