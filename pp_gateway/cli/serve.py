"""`pp serve`: the gateway."""

from pathlib import Path
from typing import Annotated

import typer

from pp_gateway.cli.output import JsonFlag, Output, line
from pp_resources.errors import UserError
from pp_resources.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Another address than this machine's own needs keys in gateway.yaml.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8100,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes; each loads the models.")] = 1,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Default: gateway.yaml under PP_HOME, where there is one.")
    ] = None,
    new_key: Annotated[str | None, typer.Option("--new-key", metavar="NAME", help="Make a key, print it once, and do not serve.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Serve all tasks over HTTP, until Ctrl-C: /inference, /feedback, /v1/chat/completions, /v1/embeddings, /health, /openapi.json.

    An answer is given when it is on disk. Files that change are read again (SIGHUP or POST /reload: at once) and requests go on meanwhile.

    Examples:

        pp serve

        pp serve --port 0 --workers 2 --config gateway.yaml
    """
    from pp_gateway.serve.app import Plan, config_file
    from pp_gateway.serve.config import read_config

    out = Output(as_json)
    if new_key is not None:
        _show_key(out, new_key)
        return
    settings = Settings.from_env()
    loopback_or_keys(host, read_config(config_file(settings, config)).keys)
    from pp_gateway.listening import listen
    from pp_gateway.serve.process import serve as run

    def ready(url: str) -> None:
        if not out.result({"url": url, "workers": workers}):
            line(f"Gateway  {url}  (a dashboard in a browser; OpenAI clients: {url}/v1)")
            line("Ctrl-C stops it.")

    run(Plan(settings, config, workers, settings.store_url), listen(host, port), ready)


def loopback_or_keys(host: str, keys: object) -> None:
    """Raises UserError where anybody who can reach the address could ask."""
    from pp_resources.json_server import is_loopback

    if not keys and not is_loopback(host):
        raise UserError(
            "needs keys: other machines can reach this address", where=f"--host {host}", how="make one with pp serve --new-key NAME"
        )


def _show_key(out: Output, name: str) -> None:
    from pp_gateway.serve.keys import new_key
    from pp_resources.artifacts import SLUG

    if not SLUG.match(name):
        raise UserError(f"{name!r} is not a name", where="--new-key", how="use lower-case letters, digits, '.', '_' and '-'")
    key, kept = new_key()
    if not out.result({"name": name, "key": key, "sha256": kept.sha256}):
        line(f"{key}")
        line("It is kept nowhere. In gateway.yaml under PP_HOME put:")
        line(f"keys: {{{name}: {{sha256: {kept.sha256}}}}}")
