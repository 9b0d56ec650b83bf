"""Who may ask, and how often."""

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Mapping
from functools import lru_cache

from pp_gateway.serve.config import GatewayConfig, Key
from pp_gateway.serve.said import Refused
from pp_resources.json_server import is_loopback

ANYBODY = ""  # the name of callers where no key is asked for


class Bucket:
    """A token bucket: `rate` a second, `burst` at once."""

    def __init__(self, rate: float, burst: int | None) -> None:
        self.rate, self.burst = rate, float(burst if burst is not None else max(1, math.ceil(2 * rate)))
        self._tokens, self._at = self.burst, time.monotonic()

    def take(self) -> float:
        """Take one; seconds until there is one, 0 when it was taken."""
        at = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (at - self._at) * self.rate)
        self._at = at
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate


class Gatekeeper:
    """Lets callers in. Buckets go on when the configuration is read again. `workers` processes share each rate."""

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._buckets: dict[tuple[str, float, int | None], Bucket] = {}

    def admit(self, config: GatewayConfig, headers: Mapping[bytes, bytes]) -> str:
        """The caller's name. Raises Refused without a key that is known, or where a page in a browser may be behind the request."""
        if not config.keys:
            # Pages of other sites can be made to ask this machine under a name of theirs.
            if not _is_here(headers.get(b"host", b"")):
                raise Refused(403, "wrong_host", "asked by another name than that of this machine", how="use 127.0.0.1, or configure keys")
            origin = headers.get(b"origin")
            if origin is not None and not _is_here(origin.partition(b"//")[2]):
                raise Refused(403, "wrong_origin", "asked by a page of another site", how="use a page of this machine, or configure keys")
            return ANYBODY
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ") or headers.get(b"x-api-key", b"")
        hashed = hashlib.sha256(given).hexdigest()
        found = None
        for name, key in config.keys.items():
            if hmac.compare_digest(key.sha256, hashed):
                found = name
        if found is None:
            raise Refused(401, "wrong_key", "the key is missing or wrong", how="send it as 'Authorization: Bearer KEY'")
        return found

    def limit(self, config: GatewayConfig, caller: str) -> None:
        """Count a request. Raises Refused where there were too many."""
        key = config.keys.get(caller)
        rate, burst = (key.per_second, key.burst) if key and key.per_second else (config.per_second, config.burst)
        if rate is None:
            return
        place = (caller, rate, burst)
        if place not in self._buckets:
            self._buckets[place] = Bucket(rate / self._workers, burst and max(1, burst // self._workers))
        wait = self._buckets[place].take()
        if wait:
            raise Refused(429, "rate_limit", f"more than {rate:g} requests a second", how="send less, or later", retry_after=wait)


def new_key() -> tuple[str, Key]:
    """A key and what is configured of it."""
    made = f"pp-{secrets.token_urlsafe(32)}"
    return made, Key(sha256=hashlib.sha256(made.encode()).hexdigest())


@lru_cache(maxsize=64)
def _is_here(host: bytes) -> bool:
    """Whether a Host header names this machine."""
    name = host.decode("latin-1")
    return is_loopback(name[1 : name.find("]")] if name.startswith("[") else name.partition(":")[0])
