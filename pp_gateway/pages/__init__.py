"""Pages for people, and the files that they are made of: HTML, scripts and styles in this folder, no data, nothing from elsewhere.

Belongs here: what a browser loads. Does not: what it then asks for, which is JSON behind keys. `door.js` is how every page asks: it sends
the key, asks for one where it is told 401, and follows server-sent events.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

FOLDER = Path(__file__).parent
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""What a page may do: run and show files of its own gateway, ask that gateway, and nothing else; no script in the HTML itself."""
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A new version of a file is seen at once: the browser asks whether it has changed, and is told by the ETag.
    "Cache-Control": "no-cache",
}
FREE = ("/pages/",)


def page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """What answers with one file of this folder."""

    async def show(_request: Request) -> Response:
        return _file(name)

    return show


async def _named(request: Request) -> Response:
    name = request.path_params["name"]
    if Path(name).suffix not in TYPES or not (FOLDER / name).is_file():
        raise HTTPException(404)
    return _file(name)


def _file(name: str) -> Response:
    return FileResponse(FOLDER / name, media_type=TYPES[Path(name).suffix], headers=HEADERS)


ROUTES: list[BaseRoute] = [Route("/pages/{name}", _named)]
