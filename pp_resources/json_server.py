"""A server that takes and gives JSON over HTTP, asked with patience: connections that fail are tried again, a no is told in its words."""

import http.client
import ipaddress
import json
import random
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from pp_resources.errors import UserError

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds before a request is made again, doubled each time
ROUND = 60.0  # seconds that one connection waits for an answer
LATER = (429, 502, 503, 504)  # statuses of a server that may answer the next time


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class JsonServer:
    """One server. `key` goes as a bearer token; `patience` is how many seconds a server that cannot be reached is waited for; `health` the
    path of a page that a server which is alive gives at once.

    Requests may be made again without harm: whoever serves them does equal bytes once.
    """

    def __init__(self, url: str, key: str | None = None, *, patience: float = 60.0, health: str = "/health") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url!r} is no address of a server", where="where", how="give one such as http://127.0.0.1:8080")
        self.url, self.patience, self.health = url.rstrip("/"), patience, health
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        # Never through a proxy where the address is this machine.
        proxies = [urllib.request.ProxyHandler({})] if is_loopback(parts.hostname) else []
        self._opener = urllib.request.build_opener(_Stay, *proxies)
        self._ended = threading.Event()

    def end(self) -> None:
        """Try nothing again from now on."""
        self._ended.set()

    def post(self, path: str, body: bytes) -> Any:
        """The JSON that the server gives for these bytes, however long that takes it.

        Raises UserError when it is not to be reached, or says no: in its own words where it has some.
        """
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                request = urllib.request.Request(f"{self.url}{path}", body, self._headers)
                with self._opener.open(request, timeout=ROUND) as answer:
                    return self._read(answer.read())
            except TimeoutError:  # of an answer; a connection that is not made in time is an URLError
                why = f"no answer in {ROUND:g} s"
                if self._alive():  # and at work: the same request once more waits for the same answer
                    began, pause = time.monotonic(), FIRST_PAUSE
                    continue
            except urllib.error.HTTPError as error:
                why = f"status {error.code}"
                if error.code not in LATER:
                    raise self._refusal(error) from None
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                why = str(getattr(error, "reason", "") or error) or type(error).__name__
            if time.monotonic() - began + pause > self.patience or self._ended.is_set():
                raise UserError(f"does not answer ({why})", where=self.url, how="what is done is kept: start the server, and run again")
            # Half of the pause by chance, so that workers who lost a server together do not come back together.
            self._ended.wait(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _alive(self) -> bool:
        try:
            with self._opener.open(f"{self.url}{self.health}", timeout=ROUND) as answer:
                return bool(answer.status == 200) and not self._ended.is_set()
        except (OSError, http.client.HTTPException):
            return False

    def _read(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise self._stranger("its answer is not JSON") from None

    def _refusal(self, error: urllib.error.HTTPError) -> UserError:
        try:
            said = json.loads(error.read())["error"]
            return UserError(str(said["what"]), where=str(said["where"] or self.url), how=str(said["how"]))
        except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
            if error.code >= 500:
                return UserError(f"has failed (status {error.code})", where=self.url, how="see what it has printed")
            return self._stranger(f"status {error.code}")

    def _stranger(self, why: str) -> UserError:
        return UserError(f"is not a server of this kind ({why})", where=self.url, how="check the address")


def is_loopback(host: str) -> bool:
    """Whether an address is this machine and no other."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
