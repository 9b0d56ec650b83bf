"""Chat completions of remote models that are no task's: passed on nearly as they came, kept and counted like all others."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from pp_gateway.serve.exchange import Http, Reply, event
from pp_gateway.serve.forms import fits, form_of
from pp_gateway.serve.gateway import GONE, Gateway
from pp_gateway.serve.requests import ChatRequest
from pp_gateway.serve.said import Failed, Refused
from pp_gateway.serve.upstream import Upstream, cost_of, usage_of
from pp_resources.store.ids import now, uuid7
from pp_resources.store.rows import Inference

OURS = ("episode_id", "variant_name", "tags", "subject", "dryrun")  # fields that no provider knows
THEIRS = (400, 413, 422)  # refusals that speak of the caller's request


class Passing:
    """One request on its way."""

    def __init__(self, gateway: Gateway, request: ChatRequest, upstream: Upstream, body: Mapping[str, Any]) -> None:
        self.gateway, self.request, self.upstream = gateway, request, upstream
        self.at, self.began = now(), time.perf_counter()
        self.id, self.episode = uuid7(self.at), request.episode_id or uuid7(self.at)
        self.ends = time.monotonic() + upstream.remote.timeouts.total
        form = request.response_format
        self.form = form_of(form.json_schema.json_schema, "response_format") if form and form.json_schema else None
        self.body = {name: value for name, value in body.items() if name not in OURS} | {"model": upstream.remote.model}

    async def whole(self) -> bytes:
        """The answer, once it is kept."""
        try:
            found = await self.upstream.complete(orjson.dumps(self.body), self.ends)
            text = _text(found["choices"][0]["message"])
            self._check(text)
        except Failed as error:
            await self._keep(None, (None, None), error)
            raise _theirs(error) from None
        except asyncio.CancelledError:
            self.gateway.background(self._keep(None, (None, None), Failed(499, "gone", GONE)))
            raise
        await self._keep(text, usage_of(found), None)
        return orjson.dumps(found | {"id": self.id, "model": self.request.model, "episode_id": self.episode})

    async def events(self) -> AsyncIterator[bytes]:
        """Events as they come; [DONE] comes when the row is on disk."""
        wanted = bool(self.request.stream_options and self.request.stream_options.include_usage)
        options = {**(self.body.get("stream_options") or {}), "include_usage": True}
        parts: list[str] = []
        tokens: tuple[int | None, int | None] = (None, None)
        kept = False
        with self.gateway.using():
            try:
                async for _, found in self.upstream.stream(orjson.dumps(self.body | {"stream_options": options}), self.ends):
                    tokens = usage_of(found) if found.get("usage") else tokens
                    parts += [text for choice in found.get("choices") or () if (text := (choice.get("delta") or {}).get("content"))]
                    if found.get("choices") or wanted:
                        yield event(found | {"id": self.id, "model": self.request.model, "episode_id": self.episode})
                self._check("".join(parts))
                kept = True
                await self._keep("".join(parts), tokens, None)
            except Failed as error:
                if not kept:
                    kept = True
                    await self._keep("".join(parts) or None, tokens, error)
                raise _theirs(error) from None
            finally:
                if not kept:
                    gone = Failed(499, "gone", GONE)
                    self.gateway.background(self._keep("".join(parts) or None, tokens, gone))
            yield event(b"[DONE]")

    def _check(self, text: str) -> None:
        if self.form is None:
            return
        try:
            sound = fits(self.form, orjson.loads(text))
        except orjson.JSONDecodeError:
            sound = False
        if not sound:
            raise Failed(422, "invalid_output", "the answer does not follow the schema that was asked for", again=False)

    async def _keep(self, text: str | None, tokens: tuple[int | None, int | None], error: Failed | None) -> None:
        request, remote, cost = self.request, self.upstream.remote, cost_of(self.upstream.remote, tokens)
        latency = round((time.perf_counter() - self.began) * 1000, 3)
        gateway = self.gateway
        try:
            if not request.dryrun and gateway.logbook.mode != "off":
                row = Inference(
                    id=self.id,
                    at=self.at,
                    task=request.model,
                    variant=remote.model,
                    input=orjson.dumps(self.body["messages"]).decode(),
                    output=None if text is None else text.replace("\0", "\ufffd"),
                    episode=self.episode,
                    valid=None if self.form is None else error is None,
                    error=None if error is None else error.what,
                    latency_ms=latency,
                    tokens_in=tokens[0],
                    tokens_out=tokens[1],
                    cost=cost,
                    tags={**(request.metadata or {}), **request.tags},
                    subject=request.subject or request.user,
                )
                await gateway.logbook.note(gateway.now.redactor.row(row))
        finally:
            gateway.metrics.answer(request.model, remote.model, "ok" if error is None else "error", latency / 1000)
            gateway.metrics.spent(request.model, remote.model, *tokens, cost)


async def pass_on(gateway: Gateway, http: Http, request: ChatRequest, upstream: Upstream) -> Reply:
    """Have a remote model answer."""
    if request.n not in (None, 1):
        raise Refused(400, "unsupported_parameter", "one answer at a time", how="leave out n", param="n")
    passing = Passing(gateway, request, upstream, orjson.loads(http.body))
    if request.stream:
        return Reply(events=passing.events())
    with gateway.using():
        return Reply(await passing.whole())


def _text(message: Mapping[str, Any]) -> str:
    """What is kept of an answer: its text, or all of it where it calls tools."""
    content = message.get("content")
    return content if isinstance(content, str) and not message.get("tool_calls") else orjson.dumps(message).decode()


def _theirs(error: Failed) -> Failed:
    if error.code == "upstream_error" and error.status in THEIRS:
        return Refused(error.status, error.code, error.what)
    return error
