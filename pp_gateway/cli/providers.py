"""`pp providers`: which providers there are, and whether one answers."""

import os
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_resources.errors import UserError
from pp_resources.settings import Settings

app = typer.Typer(help="Look at the providers of models, and ask one.", no_args_is_help=True)

_FORM = {
    "type": "object",
    "properties": {"colour": {"enum": ["blue", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
_QUESTION = "Which colour has a clear sky at noon? Answer with JSON."
TOKENS = 64  # of an answer: models that think first may need them all


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """Show every provider: address, key, how an answer's form is asked for, limits, and models with prices and their dates.

    PP_PROVIDERS, or providers.yaml under PP_HOME, adds providers and changes those that ship. A model without a price is unpriced.

    Example: pp providers list --json
    """
    from pp_assets.providers import provider_table

    out = Output(as_json)
    found = [_told(name, row) for name, row in provider_table(Settings.from_env()).items()]
    if out.result({"providers": found}):
        return
    shown = []
    for one in found:
        key = "–" if one["key_env"] is None else f"{one['key_env']} ({'set' if one['key_set'] else 'not set'})"
        limits = one["limits"]
        per_minute = ", ".join(
            f"{limits[f'{what}_per_minute']:g} {what}" for what in ("requests", "tokens") if limits[f"{what}_per_minute"]
        )
        shown.append((one["provider"], one["url"], key, one["structured"], per_minute or "–", str(limits["at_once"])))
    table(("provider", "address", "key", "form of answers", "a minute", "at once"), shown, right=("at once",), whole=("address",))
    line()
    models = [(f"{one['provider']}/{m['model']}", *_priced(m)) for one in found for m in one["models"]]
    table(("model", "US$ a million in", "out", "since"), models, right=("US$ a million in", "out"))
    line()
    line("any other model of a provider can be named as PROVIDER/MODEL, and is unpriced; local/BASE is a base model on this machine")


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="PROVIDER/MODEL, local/BASE, or PROVIDER for the first model that it has.")],
    as_json: JsonFlag = False,
) -> None:
    """Ask one tiny question: does it answer, how fast, with how many tokens, and does it hold to a schema?

    It is asked anew each time and pays for some tokens. Ends with 1 where the answer does not follow the schema.

    Examples:

        pp providers check ollama

        pp providers check local/promptprecision/tiny-base --json
    """
    from pp_assets.providers import LOCAL, split_name

    out, settings = Output(as_json), Settings.from_env()
    provider, model = split_name(name, settings, whole=False)
    told = _asked_here(model, settings) if provider == LOCAL else _asked(provider, model, settings)
    if not out.result(told):
        cost = "unpriced" if told["usd"] is None else f"{told['usd']:.6g} US$"
        line(f"{told['model']} at {told['at']} answers in {told['seconds']:.2f} s: {told['text'].strip()!r}")
        line(f"tokens   {told['tokens_in']} in, {told['tokens_out']} out ({cost})")
        line(f"form     asked for as {told['form']}; the answer {'follows' if told['valid'] else 'does not follow'} the schema")
    if not told["valid"]:
        raise typer.Exit(1)


def _asked(provider: str, model: str, settings: Settings) -> dict[str, Any]:
    from pp_assets.providers import named_provider, provider_table

    row = provider_table(settings)[provider]
    if not model:
        known = list(row.models) or named_provider(provider, "", settings, kept=False).models()
        if not known:
            raise UserError("serves no model", where=row.url, how="load one, or name it: PROVIDER/MODEL")
        model = known[0]
    one = named_provider(provider, model, settings, kept=False)
    return _answer(one) | {"at": one.url, "form": one.form}


def _asked_here(model: str, settings: Settings) -> dict[str, Any]:
    from pp_resources.models.local_chat import LocalChat

    if not model:
        raise UserError("names no base model", where="local", how="give one, such as local/promptprecision/tiny-base")
    return _answer(LocalChat(model, device=settings.device, threads=settings.threads)) | {"at": "this machine", "form": "grammar"}


def _answer(model: Any) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    from pp_assets.evaluation.outputs import strict_json

    reply = model.ask([{"role": "user", "content": _QUESTION}], schema=_FORM, max_tokens=TOKENS)
    try:
        valid = Draft202012Validator(_FORM).is_valid(strict_json(reply.text))
    except ValueError:
        valid = False
    told = reply._asdict() | {"model": model.name, "valid": valid}
    del told["cached"]
    return told | {"usd": model.price.of(reply.tokens_in, reply.tokens_out) if model.price else None}


def _told(name: str, row: Any) -> dict[str, Any]:
    models = [
        {"model": model, "usd_in": offer.usd_in, "usd_out": offer.usd_out, "since": offer.since.isoformat() if offer.since else None}
        for model, offer in row.models.items()
    ]
    key_set = bool(os.environ.get(row.key_env)) if row.key_env else None
    terms = row.model_dump(include={"structured", "leaves_out", "limits", "timeouts", "retries"})
    return {"provider": name, "url": row.url, "key_env": row.key_env, "key_set": key_set, **terms, "models": models}


def _priced(model: dict[str, Any]) -> tuple[str, str, str]:
    if model["usd_in"] is None:
        return "unpriced", "", ""
    return f"{model['usd_in']:g}", f"{model['usd_out']:g}", model["since"] or "no date"
