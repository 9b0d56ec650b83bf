"""Asks any OpenAI-compatible address: messages and an optional JSON Schema in, text and usage out.

Answers are kept on the disk under all that they depend on, so that what was paid for once is never asked again.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_server import is_loopback
from pp_resources.models.chat import Messages, Reply
from pp_resources.settings import Settings
from pp_resources.spending import meter

TIMEOUT, RETRIES = 120.0, 4  # seconds for one answer; requests beyond the first, with the client's growing pauses
AT_ONCE = 8  # requests that `each` has under way
KEY_VERSION = 1  # of the cache's keys
_TABLE = """CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL, tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL, finish_reason TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID"""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Provider:
    """One model at one address. Threads may share it.

    `key` goes as a bearer token and is written nowhere. `budget` is how many tokens (in and out) this object may buy: it buys no
    further answer once they are spent (the last one may go beyond), answers in `cache` stay free. Without `cache` nothing is kept.
    """

    def __init__(self, url: str, model: str, *, key: str | None = None, budget: int | None = None, cache: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url!r} is no address of a provider", where="provider", how="give one such as http://127.0.0.1:8000/v1")
        self.url, self.model, self.budget, self.spent = url.rstrip("/"), model, budget, 0
        self._key, self._lock, self._meter = key, threading.Lock(), meter()
        self._turns = [threading.Lock() for _ in range(1024)]
        self._client: Any = None
        self._answers = _open(cache) if cache else None

    def ask(
        self,
        messages: Messages,
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int | None = None,
    ) -> Reply:
        """The answer to `messages` ({"role", "content"} each), asked to follow `schema` where one is given: not every provider holds to it,
        so check what it says.

        Raises UserError when the budget is spent, or the address does not answer or says no. Equal requests give the kept answer; other
        answers to the same messages come with another `seed`.
        """
        request: dict[str, Any] = {"model": self.model, "messages": [dict(m) for m in messages], "temperature": temperature, "seed": seed}
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        if schema is not None:
            form = {"name": "answer", "schema": dict(schema), "strict": _all_required(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        key = digest([KEY_VERSION, self.url, request], ordered=True)
        # Who asks the same at the same time waits for the first answer instead of buying a second.
        with self._turns[int(key[:4], 16) % len(self._turns)]:
            return self._kept(key) or self._buy(key, request)

    def _kept(self, key: str) -> Reply | None:
        if self._answers is None:
            return None
        with self._lock:
            found = self._answers.execute("SELECT text, tokens_in, tokens_out, finish_reason FROM answers WHERE key = ?", (key,)).fetchone()
        return Reply(found[0], found[1], found[2], True, found[3]) if found else None

    def _buy(self, key: str, request: dict[str, Any]) -> Reply:
        if self.budget is not None and self.spent >= self.budget:
            what = f"the budget of {self.budget} tokens is spent ({self.spent})"
            raise UserError(what, where=self.url, how="answers so far are kept: raise PP_PROVIDER_BUDGET, and run again")
        answer = self._request(request)
        choice, usage = answer.choices[0], answer.usage
        reply = Reply(
            choice.message.content or "",
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            False,
            "refusal" if getattr(choice.message, "refusal", None) else str(choice.finish_reason or "stop"),
        )
        if self._meter:
            self._meter.add(reply.tokens_in, reply.tokens_out)
        with self._lock:
            self.spent += reply.tokens_in + reply.tokens_out
            if self._answers is not None:
                row = (key, self.model, reply.text, reply.tokens_in, reply.tokens_out, reply.finish_reason, time.time())
                self._answers.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return reply

    def _request(self, request: dict[str, Any]) -> Any:
        import openai

        try:
            answer = self._connected().chat.completions.create(**request)
        except openai.APITimeoutError:
            raise UserError(f"gives no answer in {TIMEOUT:g} s", where=self.url, how="ask for fewer tokens, or try later") from None
        except openai.APIConnectionError as error:
            why = self._without_key(str(error.__cause__ or error))
            raise UserError(f"does not answer ({why})", where=self.url, how="check PP_PROVIDER_URL, and that the server runs") from None
        except openai.APIStatusError as error:
            raise UserError(self._without_key(_said(error)), where=self.url, how=_mend(error.status_code)) from None
        except openai.OpenAIError as error:
            raise UserError(f"cannot be asked ({self._without_key(str(error))})", where=self.url, how="check PP_PROVIDER_KEY") from None
        if not getattr(answer, "choices", None):
            raise UserError("is no OpenAI-compatible server (its answer has no choices)", where=self.url, how="check PP_PROVIDER_URL")
        return answer

    def _connected(self) -> Any:
        import openai

        with self._lock:
            if self._client is None:
                # Never through a proxy where the address is this machine; a redirect would carry the messages to another host.
                local = is_loopback(urlsplit(self.url).hostname or "")
                http = openai.DefaultHttpxClient(trust_env=not local, follow_redirects=False)
                key = self._key or "none"  # servers of one's own mostly ask for none, the client must have one
                self._client = openai.OpenAI(api_key=key, base_url=self.url, timeout=TIMEOUT, max_retries=RETRIES, http_client=http)
        return self._client

    def _without_key(self, text: str) -> str:
        line = " ".join(text.split())[:300]
        return line.replace(self._key, "***") if self._key else line


def each(ask: Callable[[Item], Answer], items: Sequence[Item]) -> Iterator[Answer]:
    """`ask` of every item, in their order, AT_ONCE at a time: an answer is seconds away and costs this machine nothing. The first error is
    raised in its place, and nothing more is asked then; up to AT_ONCE - 1 answers may be bought beyond a budget."""
    with ThreadPoolExecutor(AT_ONCE, "provider") as pool:
        yield from pool.map(ask, items)


def provider_from_env() -> Provider | None:
    """The provider that PP_PROVIDER_URL, PP_PROVIDER_MODEL, PP_PROVIDER_KEY and PP_PROVIDER_BUDGET (tokens of one run) name, with its
    answers kept under PP_HOME; None where no address is set."""
    url, model = os.environ.get("PP_PROVIDER_URL"), os.environ.get("PP_PROVIDER_MODEL")
    if not url:
        return None
    if not model:
        raise UserError("is not set", where="PP_PROVIDER_MODEL", how=f"name a model that {url} serves")
    budget = os.environ.get("PP_PROVIDER_BUDGET")
    if budget and not budget.isdecimal():
        raise UserError(f"{budget!r} is not a number of tokens", where="PP_PROVIDER_BUDGET", how="give a whole number")
    cache = Settings.from_env().home / "provider" / "answers.sqlite"
    return Provider(url, model, key=os.environ.get("PP_PROVIDER_KEY"), budget=int(budget) if budget else None, cache=cache)


def _open(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Autocommit: an answer that was paid for is on the disk when `ask` returns. Processes may share the file.
        answers = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        answers.execute("PRAGMA journal_mode = WAL")
        answers.execute(_TABLE)
    except sqlite3.DatabaseError as error:
        raise UserError(f"is no store of answers ({error})", where=str(file), how="move it away") from None
    return answers


def _all_required(node: Any) -> bool:
    """Whether every object of a schema requires all its keys and no others: only then some providers hold to it strictly, and they refuse
    to where it is not so."""
    if isinstance(node, list):
        return all(map(_all_required, node))
    if not isinstance(node, Mapping):
        return True
    keys = node.get("properties")
    if isinstance(keys, Mapping) and (set(node.get("required", ())) != set(keys) or node.get("additionalProperties") is not False):
        return False
    return all(_all_required(child) for child in node.values())


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, Mapping) else {}
    words = body.get("message") or error.message
    return f"says no (status {error.status_code}): {words}"


def _mend(status: int) -> str:
    if status in (401, 403):
        return "check PP_PROVIDER_KEY"
    if status == 404:
        return "check PP_PROVIDER_URL and PP_PROVIDER_MODEL"
    return "try later" if status == 429 or status >= 500 else "see what the provider says of this request"
