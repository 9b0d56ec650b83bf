"""One try at an OpenAI-compatible address: a request body in; what was answered, or what went wrong and whether to try again, out.

Answers are asked for whole, not as a stream of events: one counts when all of it is there, and its bill comes with it.
"""

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pp_resources.errors import UserError
from pp_resources.json_server import is_loopback
from pp_resources.models.provider_table import Timeouts

MISSING = 404
LATER = {408, 409, 425, 429, 500, 502, 503, 504, 529}  # statuses of a server that may answer the next time
_RUNS = "check the address of the provider, and that the server runs"
SHOWN = 300  # characters of what a server says of its failure
_FORM = re.compile(r"response_format|json_schema|json_object|structured|schema|grammar|guided", re.IGNORECASE)
# "`temperature` is deprecated for this model", "Unsupported parameter: 'max_tokens'", "Unknown name \"seed\""
_UNTAKEN = re.compile(r"deprecated|unsupported|support|permitted|unknown|unrecognized|unexpected", re.IGNORECASE)
_TOKENS = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d+)(?=\D)')  # what ends in a digit may be the half of a number

Bill = tuple[int, int]


@dataclass(frozen=True)
class Heard:
    """A whole answer. `bill` are its tokens in and out, None where the server does not count."""

    text: str
    finish_reason: str
    bill: Bill | None
    seconds: float


class Failed(Exception):
    """A try without an answer. `again`: another may have one. `bill` is what the server said that it cost all the same; `sent`: the
    server may have answered, and billed, unheard."""

    def __init__(
        self,
        what: str,
        how: str,
        *,
        status: int = 0,
        again: bool = False,
        wait: float | None = None,
        bill: Bill | None = None,
        sent: bool = False,
        broken: bool = False,
    ) -> None:
        self.what, self.how, self.status, self.again, self.wait = what, how, status, again, wait
        self.bill, self.sent, self.broken = bill, sent, broken
        super().__init__(what)

    def refused(self, fields: Iterable[str]) -> str | None:
        """The one of these fields of the request that the server says it does not take."""
        if self.status not in (400, 422) or not _UNTAKEN.search(self.what):
            return None
        return next((field for field in fields if re.search(rf"\b{field}\b", self.what)), None)

    @property
    def refuses_form(self) -> bool:
        """Whether the server does not take the form that was asked for."""
        return self.status in (400, 422) and bool(_FORM.search(self.what))


class Wire:
    """One address, asked by threads. `key` goes as a bearer token and is written nowhere."""

    def __init__(self, url: str, key: str | None, times: Timeouts) -> None:
        parts = urlsplit(url)
        if parts.password:  # which would be kept and told with the address
            raise UserError("an address holds no key", where="provider", how="give it through PP_PROVIDER_KEY, or the provider's key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url!r} is no address of a provider", where="provider", how="give one such as http://127.0.0.1:8000/v1")
        self.url, self._key, self.times = url.rstrip("/"), key, times
        self._lock = threading.Lock()
        self._client: Any = None

    def once(self, request: Mapping[str, Any], idempotency: str) -> Heard:
        """Raises Failed. A server that knows `Idempotency-Key` gives the answer that it has for it, and bills it once."""
        import httpx2  # what the client is made of
        import openai

        began, parts, ends = time.perf_counter(), list[bytes](), time.monotonic() + self.times.total
        late = f"gives no answer in {self.times.total:g} s"
        try:
            ask = self._connected().chat.completions.with_streaming_response.create
            with ask(**request, extra_headers={"Idempotency-Key": idempotency}) as answer:
                kind = answer.headers.get("content-type", "")
                for part in answer.http_response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > ends:
                        raise httpx2.ReadTimeout("the whole answer")
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            # What took too long may have been the connection: then nothing was sent.
            sent = not isinstance(error.__cause__, httpx2.ConnectTimeout)
            what = late if sent else f"does not answer (no connection in {self.times.connect:g} s)"
            raise Failed(what, "ask for fewer tokens, or try later", again=True, sent=sent, bill=billed(parts)) from None
        except (openai.APIConnectionError, httpx2.TransportError) as error:
            why = self._without_key(str(error.__cause__ or error))
            sent = not isinstance(error.__cause__, httpx2.ConnectError)
            raise Failed(f"does not answer ({why})", _RUNS, again=True, sent=sent, bill=billed(parts)) from None
        except openai.OpenAIError as error:
            raise Failed(f"cannot be asked ({self._without_key(str(error))})", "check the key of the provider") from None
        return self._read(b"".join(parts), kind, time.perf_counter() - began)

    def models(self) -> list[str]:
        """What the server says that it serves. Raises Failed, with a status where it answers and lists none."""
        import openai

        how = "name one: PROVIDER/MODEL"
        try:
            return [str(model.id) for model in self._connected().models.list().data]
        except openai.APIStatusError as error:
            raise Failed(f"lists no models ({self._without_key(str(error))})", how, status=int(error.status_code)) from None
        except openai.APIConnectionError as error:
            raise Failed(f"does not answer ({self._without_key(str(error.__cause__ or error))})", _RUNS) from None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError):  # another page stands there
            raise Failed("lists no models", how, status=200) from None

    def _read(self, body: bytes, kind: str, seconds: float) -> Heard:
        stranger = "is no OpenAI-compatible server (its answer has no choices)"
        how = "check the address of the provider"
        try:
            found = json.loads(body)
        except ValueError:
            if "html" in kind:
                raise Failed(stranger, how) from None
            raise Failed("its answer is not JSON", "try later", again=True, bill=billed([body]), sent=True, broken=True) from None
        try:
            choice = found["choices"][0]
            message = choice["message"]
            said = message.get("content") or ""
        except (LookupError, TypeError, AttributeError):
            raise Failed(stranger, how, bill=billed([body])) from None
        reason = "refusal" if message.get("refusal") else str(choice.get("finish_reason") or "stop")
        usage = found.get("usage")
        bill = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)) if isinstance(usage, Mapping) else None
        return Heard(said, reason, bill, seconds)

    def _refusal(self, error: Any) -> Failed:
        body = error.body if isinstance(error.body, Mapping) else {}
        words = self._without_key(str(body.get("message") or error.message))
        status = int(error.status_code)
        what = f"says no (status {status}): {words}"
        return Failed(what, _mend(status), status=status, again=status in LATER, wait=_asked_wait(error.response.headers))

    def _connected(self) -> Any:
        import openai

        with self._lock:
            if self._client is None:
                # Never through a proxy where the address is this machine; a redirect would carry the messages to another host.
                local = is_loopback(urlsplit(self.url).hostname or "")
                http = openai.DefaultHttpxClient(trust_env=not local, follow_redirects=False)
                times = openai.Timeout(self.times.total, connect=self.times.connect)
                key = self._key or "none"  # servers of one's own mostly ask for none, the client must have one
                self._client = openai.OpenAI(api_key=key, base_url=self.url, timeout=times, max_retries=0, http_client=http)
        return self._client

    def _without_key(self, text: str) -> str:
        line = " ".join(text.split())[:SHOWN]
        return line.replace(self._key, "***") if self._key else line


def billed(parts: list[bytes]) -> Bill | None:
    """What an answer that is not whole says of its tokens; None where it ends before both counts."""
    body = b"".join(parts)
    found = {name: int(count) for name, count in _TOKENS.findall(body[body.rfind(b'"usage"') :])} if b'"usage"' in body else {}
    return (found[b"prompt"], found[b"completion"]) if len(found) == 2 else None


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone for: Retry-After as seconds or as a date, or retry-after-ms."""
    said = headers.get("retry-after", "")
    with suppress(ValueError):
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        return max(0.0, float(said))
    with suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    return None


def _mend(status: int) -> str:
    if status in (401, 403):
        return "check the key of the provider (PP_PROVIDER_KEY, or the variable that the table of providers names)"
    if status == MISSING:
        return "check the address and the name of the model"
    if status == 429 or status >= 500:
        return "try later"
    return "see what the provider says of this request; fields that it refuses can be left out (leaves_out in providers.yaml)"
