"""What the table of providers says of a remote variant, where that says nothing itself."""

import os

from pp_assets.providers import provider_table
from pp_assets.serving.spec import Remote
from pp_resources.errors import UserError, nearest
from pp_resources.models.provider_table import Offer
from pp_resources.settings import Settings


def settled(remote: Remote, settings: Settings, where: str) -> Remote:
    """The variant with its provider's address, key, prices, and how it is asked. Raises UserError for a provider that is in no table."""
    if remote.provider is None:
        return remote
    table = provider_table(settings)
    if remote.provider not in table:
        raise UserError(f"no provider {remote.provider!r}", where=f"{where}: provider", how=nearest(remote.provider, table))
    row = table[remote.provider]
    offer, terms = row.models.get(remote.model, Offer()), row.terms(remote.model)
    known = {
        "url": row.url,
        "key_env": row.key_env if row.needs_key or os.environ.get(row.key_env or "") else None,
        "price_in": offer.usd_in,
        "price_out": offer.usd_out,
        "structured": terms.structured,
        "leaves_out": terms.leaves_out,
        "max_tokens_field": terms.max_tokens_field,
    }
    return remote.model_copy(update={name: value for name, value in known.items() if name not in remote.model_fields_set})


def key_of(remote: Remote, where: str) -> str | None:
    """The key from the environment. Raises UserError where it is not set."""
    if remote.key_env is None:
        return None
    key = os.environ.get(remote.key_env)
    if not key:
        raise UserError("is not set", where=f"{where}: key_env {remote.key_env}", how="set it in the environment of the gateway")
    return key
