"""What is learnt of one model at one address while it is asked."""

from collections.abc import Mapping
from typing import Any

from pp_resources.models.provider_table import Form, Terms
from pp_resources.models.rate import Rate
from pp_resources.models.wire import Failed

MOST = "max_completion_tokens"  # another name of max_tokens


class Known:
    """What this process knows of one model at one address, whoever asks it: what may go, which form of an answer it takes, and by what
    name it takes each field of a request (None: not at all)."""

    def __init__(self, terms: Terms) -> None:
        self.rate = Rate(terms.limits.requests_per_minute, terms.limits.tokens_per_minute)
        self.form: Form = terms.structured
        self.names: dict[str, str | None] = {"max_tokens": terms.max_tokens_field, **dict.fromkeys(terms.leaves_out)}

    def learn(self, failed: Failed, sent: Mapping[str, Any]) -> bool:
        """Whether a refusal names an option that can go without, or has another name; it is remembered."""
        field = failed.refused([name for name in ("temperature", "seed") if name in sent])
        if field:
            self.names[field] = None
        elif failed.refused(["max_tokens"]) and "max_tokens" in sent and MOST in failed.what:
            self.names["max_tokens"] = MOST
        else:
            return False
        return True
