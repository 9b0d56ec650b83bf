"""For whoever runs the gateway: /health, /metrics, /reload, /openapi.json."""

import os
from functools import cache
from typing import Any

import orjson

from pp_gateway.serve.exchange import Http, Reply
from pp_gateway.serve.function import Function
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.metrics import CONTENT_TYPE
from pp_resources.store.ids import iso

REFUSED = 409


async def health(gateway: Gateway, _http: Http) -> Reply:
    """Alive, and ready to answer or not (503). A store that is away is told and is no reason not to answer."""
    ready = bool(gateway.now.functions or gateway.now.models)
    decisions = gateway.builder.decisions
    told: dict[str, Any] = {
        "live": True,
        "ready": ready,
        "worker": os.getpid(),
        "config": gateway.now.digest,
        "functions": {name: _described(function) for name, function in gateway.now.functions.items()},
        "models": sorted(gateway.now.models),
        "skipped": gateway.now.skipped,
        "reload": gateway.last_reload | {"at": iso(gateway.last_reload["at"])},
        "in_flight": gateway.in_flight,
        "waiting_texts": sum(queue.waiting for queue in gateway.now.batchers),
        "logging": gateway.logbook.mode,
        "rows": dict(gateway.logbook.counts),
        "log": gateway.recorder.status() if gateway.recorder else None,
        "weights_age_s": decisions.age if decisions else None,
        "examples": gateway.builder.examples.status(),
        "upstreams_down": sorted(name for name, one in gateway.builder.upstreams().items() if one.open),
    }
    return Reply(orjson.dumps(told), 200 if ready else 503)


def _described(function: Function) -> dict[str, Any]:
    """Who answers, and the package on trial, whose copies nobody sees: digests of it and of the champion's that it is compared with."""
    tried = function.on_trial
    trial = None if tried is None else {"role": tried.name, "package": tried.package, "of": tried.of, "share": tried.share}
    return {"variants": sorted(function.variants), "trial": trial}


async def live(_gateway: Gateway, _http: Http) -> Reply:
    """Alive: the event loop turns."""
    return Reply(b'{"live":true}')


async def metrics(gateway: Gateway, _http: Http) -> Reply:
    return Reply(gateway.metrics.page(), content_type=CONTENT_TYPE.encode())


async def reload(gateway: Gateway, _http: Http) -> Reply:
    """Read configuration, tasks and packages again. 409 and the reason where they are not sound; what was served goes on."""
    found = await gateway.reload()
    told = {**found, "at": iso(found["at"]), "config": gateway.now.digest, "functions": sorted(gateway.now.functions)}
    return Reply(orjson.dumps(told), 200 if found["ok"] else REFUSED)


async def openapi(_gateway: Gateway, _http: Http) -> Reply:
    return Reply(_openapi())


@cache
def _openapi() -> bytes:
    from pp_gateway.serve.openapi import document

    return orjson.dumps(document())
