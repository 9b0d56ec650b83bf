"""A socket that waits for connections."""

import socket

from pp_resources.errors import UserError

LISTEN = 1024  # connections that may wait to be taken


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises UserError for one that is taken or that this machine does not have."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise UserError(f"cannot listen ({error.strerror or error})", where=f"{host}:{port}", how="give another one") from None
    made.listen(LISTEN)
    return made


def url_of(made: socket.socket) -> str:
    """`http://host:port`."""
    host, port = made.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
