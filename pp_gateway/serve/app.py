"""The application of one worker: routes, and how a gateway is made when its event loop runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pp_assets.serving.examples import Examples
from pp_gateway.jobs.launcher import Launcher
from pp_gateway.serve import chat, native, openai_routes, ops
from pp_gateway.serve.build import Builder
from pp_gateway.serve.config import FILE
from pp_gateway.serve.edge import Edge
from pp_gateway.serve.engine import Engine
from pp_gateway.serve.exchange import Route
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.weights import Decisions, sticky_key
from pp_gateway.site import FREE, site
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store
from pp_resources.store.recorder import Recorder

ROUTES = [
    Route("POST", "/inference", native.inference),
    Route("POST", "/feedback", native.feedback),
    Route("POST", "/v1/chat/completions", chat.chat, openai=True),
    Route("POST", "/v1/embeddings", openai_routes.embeddings, openai=True),
    Route("GET", "/v1/models", openai_routes.models, openai=True),
    Route("GET", "/v1/models/", openai_routes.models, openai=True),
    Route("GET", "/health", ops.health, free=True),
    Route("GET", "/live", ops.live, free=True),
    Route("GET", "/metrics", ops.metrics, free=True),
    Route("GET", "/openapi.json", ops.openapi, free=True),
    Route("POST", "/reload", ops.reload),
]
Started = Callable[[Gateway], None]


@dataclass(frozen=True)
class Plan:
    """What a worker serves: an installation, its configuration file, how many workers share rates."""

    settings: Settings
    config: Path | None = None
    workers: int = 1
    store_url: str | None = None


def config_file(settings: Settings, given: Path | None) -> Path | None:
    """The file that is asked for, else gateway.yaml of the installation, where there is one."""
    own = settings.home / FILE
    return given or (own if own.exists() else None)


def build_app(plan: Plan, *, beside: Any = None, started: Started | None = None) -> Edge:
    """An ASGI application. `beside` is another one for all paths that no route has (`scope["state"]["gateway"]` is there for it; default:
    the site), `started` hears of the gateway in its loop."""
    return Edge(starter(plan, started), ROUTES, beside or site(plan.settings), FREE)


def starter(plan: Plan, started: Started | None = None) -> Callable[[], Awaitable[Gateway]]:
    """Makes the gateway, in the loop that it belongs to. Raises UserError for a configuration that is not sound."""

    async def start() -> Gateway:
        settings = plan.settings
        store = open_store(settings.home, plan.store_url)
        builder = Builder(
            settings,
            Engine(settings.threads),
            config=config_file(settings, plan.config),
            key=sticky_key(settings.home),
            examples=Examples(store),
        )
        first = await builder.build()
        builder.decisions = Decisions(store, first.config.weights_seconds)
        for function in first.functions.values():
            function.decisions = builder.decisions
        recorder = Recorder(store, settings.home / "store" / "journal")
        made = Gateway(builder, first, recorder, workers=plan.workers)
        made.launcher = Launcher(settings, store, lambda: made.now.config.jobs, plan.store_url)
        made.background(made.launcher.run(), lasting=True)
        made.background(made.metrics.share(), lasting=True)
        if started:
            started(made)
        return made

    return start
