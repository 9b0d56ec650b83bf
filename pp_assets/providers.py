"""Models by name, wherever they run: `provider/model` from the table and `providers.yaml`, `local/<base id>` on this machine."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from pp_assets.task.spec_file import read_mapping, user_error
from pp_resources.errors import UserError, nearest
from pp_resources.models.cassette import Cassette
from pp_resources.models.chat import ChatModel
from pp_resources.models.provider_table import SHIPPED, Listed, Offer, Strict
from pp_resources.models.remote import Provider
from pp_resources.settings import Settings

OURS = "provider"  # the one that the environment names
LOCAL = "local"  # the provider that is this machine
FILE = "providers.yaml"
MODES = ("replay", "record")


class Table(Strict):
    """Providers by name."""

    providers: dict[str, Listed]


def provider_table(settings: Settings) -> dict[str, Listed]:
    """What ships, with what PP_PROVIDERS or `providers.yaml` under PP_HOME adds and changes: a provider there may give some fields of one
    that ships, the others stay. Raises UserError with file, line and field."""
    file = providers_file(settings)
    given = read_mapping(file) if os.environ.get("PP_PROVIDERS") or file.exists() else {}
    try:
        return Table.model_validate(_merged({"providers": SHIPPED}, given)).providers
    except ValidationError as error:
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise user_error(error, Table, f"{file}:{_line(file, first['loc'])}") from None


def providers_file(settings: Settings) -> Path:
    """Where an installation says more of providers; it need not be there, but for one that PP_PROVIDERS names."""
    named = os.environ.get("PP_PROVIDERS")
    return Path(named).expanduser() if named else settings.home / FILE


def chat_model(name: str, settings: Settings, *, budget: int | None = None, budget_usd: float | None = None) -> ChatModel:
    """The model that is called `provider/model` or `provider:model`, `local/<base id>` for a base model on this machine, `ADDRESS#MODEL`
    for one at an address that stands in no table; `provider`, or the name in PP_PROVIDER_MODEL, is that of the environment.

    Budgets are those of `Provider`; that of the environment has its own. Trained variants (`task/variant`) are no chat models:
    `pp_assets.experiment.systems` knows them. Raises UserError with the nearest name, or when the key of the provider is not set.
    """
    if name == OURS or (os.environ.get("PP_PROVIDER_URL") and name == os.environ.get("PP_PROVIDER_MODEL")):
        if ours := provider_from_env():
            return ours
        raise UserError("the environment names no provider", where="PP_PROVIDER_URL", how="set it and PP_PROVIDER_MODEL")
    url, _, served = name.partition("#")
    if served and url.startswith(("http://", "https://")):
        # A key is told to the address that it was set for, and to no other.
        key = os.environ.get("PP_PROVIDER_KEY") if url.rstrip("/") == os.environ.get("PP_PROVIDER_URL", "").rstrip("/") else None
        return Provider(url, served, key=key, name=name, cache=answers_file(settings), budget=budget, budget_usd=budget_usd)
    provider, model = split_name(name, settings)
    if provider != LOCAL:
        return named_provider(provider, model, settings, budget=budget, budget_usd=budget_usd)
    from pp_resources.models.local_chat import LocalChat

    return LocalChat(model, device=settings.device, threads=settings.threads)


def halves(name: str) -> tuple[str, str]:
    """What stands before and after the first slash or colon; the latter "" where there is none."""
    provider, model = (*re.split("[/:]", name, maxsplit=1), "")[:2]
    return provider, model


def split_name(name: str, settings: Settings, *, whole: bool = True) -> tuple[str, str]:
    """Provider and model, which may be "" where the name need not be `whole`. Raises UserError with the nearest name."""
    provider, model = halves(name)
    known = [*provider_table(settings), LOCAL]
    if provider not in known:
        form = "" if model or not whole else "give PROVIDER/MODEL; "
        raise UserError(f"no provider {provider!r}", where=f"model {name!r}", how=f"{form}{nearest(provider, known)}")
    if whole and not model:
        raise UserError("names a provider and no model", where=f"model {name!r}", how=f"give one, such as {provider}/MODEL")
    return provider, model


def named_provider(provider: str, model: str, settings: Settings, *, kept: bool = True, given: str = "", **budgets: Any) -> Provider:
    """A model of a provider in the table, its answers `kept` under PP_HOME or asked for anew. `given`: what named it, for errors."""
    row = provider_table(settings)[provider]
    key = os.environ.get(row.key_env) if row.key_env else None
    cassette = cassette_from_env(key)
    if row.needs_key and not key and not (cassette and cassette.replays):
        raise UserError("is not set", where=str(row.key_env), how=f"set it to your key of {provider}, or name another model")
    offer = row.models.get(model, Offer())
    return Provider(
        row.url,
        model,
        name=f"{provider}/{model}",
        given=given or f"the name '{provider}/{model}', and the address of {provider} ('pp providers list' shows it)",
        key=key,
        price=offer.price,
        cache=answers_file(settings) if kept else None,
        terms=row.terms(model),
        cassette=cassette,
        **budgets,
    )


def provider_from_env() -> Provider | None:
    """The provider that PP_PROVIDER_URL, PP_PROVIDER_MODEL and PP_PROVIDER_KEY name, or PP_PROVIDER_MODEL alone as `provider/model`; with
    PP_PROVIDER_BUDGET (tokens) and PP_PROVIDER_BUDGET_USD (US dollars) of one run, its answers kept under PP_HOME. None where neither
    address nor such a name is set."""
    url, model = os.environ.get("PP_PROVIDER_URL"), os.environ.get("PP_PROVIDER_MODEL")
    settings = Settings.from_env()
    if not url and not model:
        return None
    budget = _amount("PP_PROVIDER_BUDGET", "tokens", r"\d+", "a whole number")
    usd = _amount("PP_PROVIDER_BUDGET_USD", "US dollars", r"\d+(\.\d+)?", "a number such as 2.50")
    budgets: dict[str, Any] = {"budget": None if budget is None else int(budget), "budget_usd": usd}
    if url and model:
        key = os.environ.get("PP_PROVIDER_KEY")
        row = next((one for one in provider_table(settings).values() if one.url.rstrip("/") == url.rstrip("/")), None)
        known: dict[str, Any] = {"terms": row.terms(model), "price": row.models.get(model, Offer()).price} if row else {}
        known |= {"cache": answers_file(settings), "cassette": cassette_from_env(key)}
        return Provider(url, model, key=key, given="PP_PROVIDER_URL and PP_PROVIDER_MODEL", **known, **budgets)
    if not model:
        raise UserError("is not set", where="PP_PROVIDER_MODEL", how=f"name a model that {url} serves")
    provider, named = split_name(model, settings)
    if provider == LOCAL:
        what = f"{model!r} runs on this machine and is no provider"
        raise UserError(what, where="PP_PROVIDER_MODEL", how="serve it behind an address, and set PP_PROVIDER_URL")
    return named_provider(provider, named, settings, given=f"PP_PROVIDER_MODEL ({model!r})", **budgets)


def cassette_from_env(secret: str | None) -> Cassette | None:
    """That of PP_PROVIDER_CASSETTE; PP_PROVIDER_CASSETTE_MODE is `replay` (the default) or `record`."""
    file, mode = os.environ.get("PP_PROVIDER_CASSETTE"), os.environ.get("PP_PROVIDER_CASSETTE_MODE") or MODES[0]
    if not file:
        return None
    if mode not in MODES:
        raise UserError(f"{mode!r} is no mode", where="PP_PROVIDER_CASSETTE_MODE", how=nearest(mode, MODES))
    return Cassette(Path(file).expanduser(), cast(Any, mode), secret)


def answers_file(settings: Settings) -> Path:
    """Where answers of all providers are kept."""
    return settings.home / "provider" / "answers.sqlite"


def _amount(name: str, what: str, rule: str, how: str) -> float | None:
    said = os.environ.get(name)
    if not said:
        return None
    if not re.fullmatch(rule, said, re.ASCII):
        raise UserError(f"{said!r} is not a number of {what}", where=name, how=f"give {how}")
    return float(said)


def _merged(base: Any, given: Any) -> Any:
    """`given` over `base`: mappings key by key, everything else whole."""
    if not isinstance(base, Mapping) or not isinstance(given, Mapping):
        return given
    return {**base, **{name: _merged(base[name], value) if name in base else value for name, value in given.items()}}


def _line(file: Path, loc: tuple[int | str, ...]) -> int:
    """The line of the file where a field stands, or the deepest mapping above it that does."""
    node: Any = yaml.compose(file.read_text("utf-8-sig"), yaml.SafeLoader)
    line = 1
    for part in loc:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            key, node = next(((k, v) for k, v in node.value if k.value == part), (None, None))
            line = key.start_mark.line + 1 if key is not None else line
        else:
            break
    return line
