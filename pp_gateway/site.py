"""What the gateway has beside its hot routes: pages, and groups of routes that people and other programs ask rarely.

Belongs here: which groups there are. Does not: what they do. A group gives Starlette routes; `request.state.gateway` and
`request.state.caller` are there for each, behind the same keys and limits as the hot routes. Refusals are raised as `Refused`.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from pp_gateway import pages, queue
from pp_gateway.dashboard import routes as dashboard
from pp_gateway.serve.exchange import refusal
from pp_gateway.serve.said import Failed, Refused
from pp_resources.settings import Settings

FREE: tuple[str, ...] = (*pages.FREE, *queue.FREE, *dashboard.FREE)
"""Paths that ask for no key, since they hold no data: pages, which ask for it themselves. One that ends in "/" holds all below it."""


def site(settings: Settings) -> Starlette:
    """All of it, for one installation."""
    routes: list[BaseRoute] = [*pages.ROUTES, *queue.ROUTES, *dashboard.Dashboard(settings).routes()]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unknown, Failed: _refused})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Failed)
    reply = refusal(error, False)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, reply.content_type.decode())


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refused = Refused(405, "wrong_method", f"{request.url.path} takes {(error.headers or {}).get('Allow', 'other methods')}")
    else:
        refused = Refused(error.status_code, "unknown_path", f"nothing is at {request.url.path}", how="see /openapi.json")
    return await _refused(request, refused)
