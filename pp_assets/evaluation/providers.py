"""Models on one table: quality with paired differences from the best, speed, cost, features. Nothing here asks a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pp_assets.evaluation.benchmark import Timing, machine_cost, token_cost
from pp_assets.evaluation.leaderboard import leaderboard
from pp_assets.evaluation.predictions import PredictionRow, System
from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.scoring import Scoring
from pp_resources.models.price import Price

VALIDITY = "schema_valid_rate"
HERE, AWAY = "one text at a time on this machine", "each request as it was bought, several at a time"


@dataclass(frozen=True)
class Told:
    """What is known of a model beside its answers. `here`: it runs on this machine, and `timing` is what `benchmark.summary` says of it,
    None where it was not timed; `price` is of tokens, `hourly` of the machine."""

    here: bool
    timing: Mapping[str, Any] | None = None
    price: Price | None = None
    hourly: float | None = None
    features: Mapping[str, str] | None = None


def provider_table(spec: Any, systems: Sequence[System], told: Mapping[str, Told]) -> dict[str, Any]:
    """Plain values: `metric`, `n`, `groups`, and `models` from best to worst, each with `rank` and `rank_last`, `tied` (names that this
    data cannot tell from it), `primary`, `valid`, `against_best` (the paired difference, None for the best), `speed`, `cost`, `features`.

    Ranks are those that the tests carry: 1 + as many as are shown to be better, to as many as are not shown to be worse. P values are
    adjusted (Holm) over all pairs of the table, which holds for the best also, that is chosen by the same rows.
    """
    entries = leaderboard(spec, systems)
    scoring, rows = Scoring.of(spec), {system["name"]: system["rows"] for system in systems}
    best, models = entries[0]["name"], []
    for one in entries:
        name = one["name"]
        shown = [pair["effect"] for pair in one["pairs"].values() if pair["p_holm"] is not None and pair["p_holm"] < scoring.alpha]
        first, last = 1 + sum(effect < 0 for effect in shown), len(entries) - sum(effect > 0 for effect in shown)
        placed = {"rank": first if one["rank"] else None, "rank_last": last if one["rank"] else None, "tied": one["not_separated"]}
        quality = {"primary": one["primary"], "valid": one["metrics"][VALIDITY], "against_best": one["pairs"].get(best)}
        speed, cost = _speed(rows[name], one["metrics"], told[name]), _cost(rows[name], told[name])
        features = {**(told[name].features or {}), "confidence": _confidence(rows[name])}
        described = {"name": name, "description": one["description"]}
        models.append({**described, **placed, **quality, "speed": speed, "cost": cost, "features": features})
    groups = len({row.group for row in rows[best]})
    return dict(rounded({"metric": scoring.primary, "n": len(rows[best]), "groups": groups, "alpha": scoring.alpha, "models": models}))


def place(model: Mapping[str, Any]) -> str:
    """A rank as it is shown: one number, or the range that cannot be told apart."""
    if model["rank"] is None:
        return "–"
    return str(model["rank"]) if model["rank"] == model["rank_last"] else f"{model['rank']}–{model['rank_last']}"


def leaders(found: Mapping[str, Any]) -> list[str]:
    """The models that no other is shown to be better than."""
    return [one["name"] for one in found["models"] if one["rank"] == 1]


def _speed(rows: Sequence[PredictionRow], metrics: Mapping[str, Any], told: Told) -> dict[str, Any]:
    """`p50`, `p95` in milliseconds, `tokens_per_s` written, and how they were measured."""
    if told.here:
        if told.timing is None:
            none = {"value": None, "low": None, "high": None, "n": 0, "reason": "not timed"}
            return {"how": HERE, "p50": none, "p95": none, "tokens_per_s": None}
        latency = told.timing["latency_ms"]
        alone = told.timing["items_per_s"]["alone"] * (told.timing["tokens"]["out"]["value"] or 0)
        return {"how": HERE, "p50": latency["p50"], "p95": latency["p95"], "tokens_per_s": alone or None}
    seconds, tokens = sum(row.latency_ms for row in rows) / 1000, sum(row.tokens_out for row in rows)
    rate = tokens / seconds if tokens and seconds else None
    return {"how": AWAY, "p50": metrics["latency_ms_p50"], "p95": metrics["latency_ms_p95"], "tokens_per_s": rate}


def _cost(rows: Sequence[PredictionRow], told: Told) -> dict[str, Any]:
    """US dollars of 1,000 answers, by the hour of this machine or by tokens, from `n` answers; what is unpriced says so."""
    if told.here:
        seconds = 1 / told.timing["items_per_s"]["alone"] if told.timing else None
        if seconds is None and told.hourly is not None:
            return {"by": "hour", "usd_per_1000": None, "reason": "not timed"}
        found = machine_cost(seconds or 0.0, told.hourly)
        timed = {"n": told.timing["latency_ms"]["p50"]["n"]} if told.timing and told.hourly is not None else {}
        return {
            "by": "hour",
            **found,
            **timed,
            "reason": "" if told.hourly is not None else "no token is paid for; hourly prices this machine",
        }
    if told.price is None:
        return {"by": "tokens", "usd_per_1000": None, "reason": "unpriced"}
    timing = Timing(tokens_in=[row.tokens_in for row in rows], tokens_out=[row.tokens_out for row in rows])
    since = told.price.since.isoformat() if told.price.since else None
    return {"by": "tokens", **token_cost(timing, told.price), "n": len(rows), "since": since}


def _confidence(rows: Sequence[PredictionRow]) -> str:
    if any(row.fields for row in rows):
        return "of the object and its fields"
    return "of the object" if any(row.confidence is not None for row in rows) else "none"
