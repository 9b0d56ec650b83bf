"""A model behind an OpenAI-compatible address: tries again what may pass, gives up in time, leaves alone what is down."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson

from pp_assets.serving.spec import Remote
from pp_gateway.serve.alarms import Alarms, Interruptible
from pp_gateway.serve.said import Failed
from pp_resources.http_pool import Answer, Pool

LATER = {408, 409, 425, 429, 500, 502, 503, 504, 529}
SHOWN = 300  # characters of what an upstream says of its failure
DONE = b"[DONE]"
_NO_LIMIT = nullcontext()


def as_taken(remote: Remote, body: dict[str, Any]) -> dict[str, Any]:
    """A request without what the server refuses, its limit by the name that the server knows."""
    body = {name: value for name, value in body.items() if name not in remote.leaves_out}
    if "max_tokens" in body:
        body[remote.max_tokens_field] = body.pop("max_tokens")
    return body


class Upstream:
    """One model at one address. `key` goes as a bearer token and is written nowhere."""

    def __init__(self, remote: Remote, key: str | None) -> None:
        self.remote, self._key = remote, key
        self._pool = Pool(remote.url, most=remote.most_at_once)
        headers = {"Content-Type": "application/json", "User-Agent": "promptprecision"}
        path = urlsplit(remote.url).path.rstrip("/") + "/chat/completions"
        self._head = self._pool.head("POST", path, headers | ({"Authorization": f"Bearer {key}"} if key else {}))
        self._failures, self._closed_until = 0, 0.0
        self._not_lost, self.alarms = _NotLost(self), Alarms()
        self.tries = 0

    @property
    def open(self) -> bool:
        """Whether it is left alone at present."""
        return time.monotonic() < self._closed_until

    async def complete(self, body: bytes, ends: float) -> dict[str, Any]:
        """The whole answer as it came, parsed. Raises Failed."""
        ends = min(ends, time.monotonic() + self.remote.timeouts.total)
        with _InTime(self, ends):
            answer = await self._asked(body, ends)
            with self._not_lost:
                text = await answer.read()
        try:
            found = orjson.loads(text)
            found["choices"][0]["message"]
        except (ValueError, LookupError, TypeError):
            raise self._failed(502, "bad_upstream", "its answer is no chat completion") from None
        return found  # type: ignore[no-any-return]

    async def stream(self, body: bytes, ends: float) -> AsyncIterator[tuple[bytes, dict[str, Any]]]:
        """Events of a streamed answer as (what came, the same parsed), without the last one, [DONE]. Raises Failed."""
        ends = min(ends, time.monotonic() + self.remote.timeouts.total)
        with _InTime(self, ends):
            answer = await self._asked(body, ends)
        ended = False
        try:
            events = _events(answer.chunks())
            while True:
                with _InTime(self, min(ends, time.monotonic() + self.remote.timeouts.between_tokens)), self._not_lost:
                    data = await anext(events, DONE)
                if data == DONE:
                    ended = True
                    return
                try:
                    found = orjson.loads(data)
                except ValueError:
                    raise self._failed(502, "bad_upstream", "a piece of its answer is not JSON") from None
                if "error" in found:
                    raise self._failed(502, "upstream_error", str(found["error"])[:SHOWN])
                yield data, found
        finally:
            if not ended:
                answer.close()

    def close(self) -> None:
        self._pool.close()

    async def _asked(self, body: bytes, ends: float) -> Answer:
        """The head of a good answer, after as many tries as are allowed."""
        retries, pause = self.remote.retries, self.remote.retries.first_pause
        failed: Failed | None = None
        for left in range(retries.most, -1, -1):
            try:
                self._let_through()
            except Failed as down:
                raise failed or down from None
            try:
                return await self._once(body)
            except Failed as error:
                failed, after = error, error.retry_after or 0.0
                wait = max(after, pause * random.uniform(0.5, 1.0))
                # There is no use in a try that would begin after the end.
                if not left or error.status not in LATER or after > retries.longest_pause or time.monotonic() + wait >= ends:
                    raise
            await asyncio.sleep(wait)
            pause = min(retries.longest_pause, 2 * pause)
        raise AssertionError

    async def _once(self, body: bytes) -> Answer:
        times = self.remote.timeouts
        # Without a limit of its own the whole answer's holds, which the caller keeps.
        limit = _NO_LIMIT if times.first_token is None else _InTime(self, time.monotonic() + times.first_token)
        self.tries += 1
        try:
            with limit:
                answer = await self._pool.send(self._head, body, connect=times.connect)
                if answer.status == 200:
                    self._failures, self._closed_until = 0, 0.0
                    return answer
                text = await answer.read()
        except TimeoutError:
            raise self._failed(504, "timeout", "no answer in time") from None
        except OSError as error:
            raise self._failed(502, "no_connection", f"no answer ({error or type(error).__name__})") from None
        if answer.status in LATER:
            self._note_failure()
        after = None
        with suppress(ValueError):
            after = float(answer.headers["retry-after"]) if "retry-after" in answer.headers else None
        # Another variant may be let in where this one's key is not, or may take what this one refuses.
        raise Failed(answer.status if answer.status >= 400 else 502, "upstream_error", self._told(answer.status, text), retry_after=after)

    def _let_through(self) -> None:
        """Raises Failed while the upstream is left alone; the first request after that time goes, and the others wait for its outcome."""
        now = time.monotonic()
        if now < self._closed_until:
            what = f"{self.remote.url} has failed {self._failures} times in a row"
            raise Failed(503, "upstream_down", what, retry_after=self._closed_until - now)
        if self._failures >= self.remote.breaker.failures:
            self._closed_until = now + self.remote.breaker.seconds

    def _failed(self, status: int, code: str, what: str) -> Failed:
        self._note_failure()
        return Failed(status, code, f"{self.remote.url}: {self._without_key(what)}")

    def _note_failure(self) -> None:
        self._failures += 1
        if self._failures >= self.remote.breaker.failures:
            self._closed_until = time.monotonic() + self.remote.breaker.seconds

    def _told(self, status: int, text: bytes) -> str:
        try:
            said = str(orjson.loads(text)["error"]["message"])
        except (ValueError, LookupError, TypeError):
            said = text.decode("utf-8", "replace")
        return f"{self.remote.url} says no (status {status}): {self._without_key(said)}"

    def _without_key(self, text: str) -> str:
        line = " ".join(text.split())[:SHOWN]
        return line.replace(self._key, "***") if self._key else line


class _InTime(Interruptible):
    """A block that must end by a moment, else Failed."""

    def __init__(self, upstream: Upstream, ends: float) -> None:
        super().__init__()
        self._upstream, self._ends = upstream, ends

    def __enter__(self) -> None:
        self._upstream.alarms.set(self, self._ends - time.monotonic(), self.interrupt)

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        self._upstream.alarms.drop(self)
        if self.over(kind):
            raise self._upstream._failed(504, "timeout", "no answer in time") from None


class _NotLost:
    """A block in which a lost connection is Failed."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            raise self._upstream._failed(502, "no_connection", f"the answer broke off ({error})") from None


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of server-sent events; an end without [DONE] is an end."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def usage_of(found: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Tokens in and out as the upstream counted them, None where it does not say."""
    usage = found.get("usage") or {}
    return usage.get("prompt_tokens"), usage.get("completion_tokens")


def cost_of(remote: Remote, tokens: tuple[int | None, int | None]) -> float | None:
    """US dollars; None without prices or counts."""
    if remote.price_in is None or remote.price_out is None or tokens[0] is None or tokens[1] is None:
        return None
    return (tokens[0] * remote.price_in + tokens[1] * remote.price_out) / 1e6
