"""Asks any OpenAI-compatible address: messages and an optional JSON Schema in, text and usage out.

Answers are kept on the disk under all that they depend on, so that what was paid for once is never asked again.
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, Unpack

from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.models.answers import Answers
from pp_resources.models.cassette import Cassette
from pp_resources.models.chat import AskOptions, Messages, Reply
from pp_resources.models.known import MOST, Known
from pp_resources.models.price import Price
from pp_resources.models.provider_table import FORMS, Form, Terms
from pp_resources.models.wire import MISSING, Bill, Failed, Heard, Wire
from pp_resources.spending import meter

AT_ONCE = 8  # requests that `each` has under way
KEY_VERSION = 1  # of the cache's keys
CHARACTERS = 4  # of a token, on average, where nobody has counted
_OPTIONS = {"temperature", "seed", "max_tokens", MOST}  # of which a server may refuse some
_HELLO = [{"role": "user", "content": "Hello"}]
TOLD = "Answer with one JSON value and nothing around it. It follows this JSON Schema:\n"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Missing(UserError):
    """A server says that it has no such model, or nothing at that address."""


_known: dict[str, Known] = {}
_knowing = threading.Lock()


class Provider:
    """One model at one address, a `ChatModel`. Threads may share it.

    `key` goes as a bearer token and is written nowhere. `budget` is how many tokens (in and out) this object may buy, `budget_usd` how
    many US dollars: it buys no further answer once they are spent, and waits for what is under way where that, by an estimate of its
    tokens, spends them (the last answer may go beyond); answers in `cache` stay free. Without `cache` nothing is kept. A `cassette` that
    replays alone answers.

    `given` is what somebody named address and model by: told where the server knows them not.

    `spent` and `usd` are what was bought, broken answers included where the server says what they cost. `unheard` counts tries that may
    have been billed without a word on it: time-outs and lost connections after a request had gone. Raises UserError for a budget in US
    dollars without a `price`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        name: str | None = None,
        given: str | None = None,
        key: str | None = None,
        price: Price | None = None,
        budget: int | None = None,
        budget_usd: float | None = None,
        cache: Path | None = None,
        terms: Terms | None = None,
        cassette: Cassette | None = None,
    ) -> None:
        self.model, self.name, self.price, self.terms = model, name or model, price, terms or Terms()
        self._given = given or f"the address, and the name {self.name!r}"
        self._wire = Wire(url, key, self.terms.timeouts)
        self.url, self.budget, self.budget_usd = self._wire.url, budget, budget_usd
        if budget_usd is not None and price is None:
            how = "give its price in providers.yaml, or a budget in tokens"
            raise UserError(f"{self.name} is unpriced: a budget in US dollars cannot be kept", where="PP_PROVIDER_BUDGET_USD", how=how)
        self.spent, self.usd, self.unheard = 0, 0.0 if price else None, 0
        self._under_way, self._paid = 0, threading.Condition()
        self._meter, self._cassette = meter(), cassette
        self._answers = Answers(cache) if cache else None
        with _knowing:
            self._known = _known.setdefault(digest([self.url, model, self.terms.model_dump()]), Known(self.terms))

    @property
    def identity(self) -> str:
        return " ".join([self.url, self.model, *self._matters])

    @property
    def form(self) -> Form:
        """How the form of an answer is asked for: as the terms say, or what the server was found to take instead."""
        return self._known.form

    def ask(self, messages: Messages, **how: Unpack[AskOptions]) -> Reply:
        """The answer to `messages` ({"role", "content"} each), asked to follow `schema` where one is given: not every provider holds to it,
        so check what it says.

        Raises UserError when the budget is spent, or the address does not answer or says no. Equal requests give the kept answer; other
        answers to the same messages come with another `seed`.
        """
        request: dict[str, Any] = {"model": self.model, "messages": [dict(m) for m in messages]}
        request |= {"temperature": how.get("temperature", 0.0), "seed": how.get("seed", 0)}
        if (most := how.get("max_tokens")) is not None:
            request["max_tokens"] = most
        if (schema := how.get("schema")) is not None:
            form = {"name": "answer", "schema": dict(schema), "strict": _all_required(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        key = digest([KEY_VERSION, self.url, request, *self._matters], ordered=True)
        if self._cassette and self._cassette.replays:
            return self._cassette.played(self.url, request)
        reply = self._answers.kept(key) if self._answers else None
        reply = reply or self._bought(key, request)
        if self._cassette:
            self._cassette.record(self.url, request, reply)
        return reply

    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]:
        """The answers to many, in their order; as many at a time as the limits say. Raises UserError as `ask`; what was bought is kept."""
        return list(each(lambda messages: self.ask(messages, **how), asked, self.terms.limits.at_once))

    def models(self) -> list[str]:
        """What the address says that it serves. Raises UserError."""
        try:
            return self._wire.models()
        except Failed as failed:
            raise UserError(failed.what, where=self.url, how=failed.how) from None

    def check(self) -> None:
        """Raise UserError where the address does not answer, or lists its models without this one and says that it has none of the name.
        One that lists none is not asked further: whether it has the model is seen when it is asked for an answer."""
        if self._cassette and self._cassette.replays:
            return
        try:
            listed = self._wire.models()
        except Failed as failed:
            if failed.status:
                return
            raise UserError(failed.what, where=self.url, how=failed.how) from None
        if self.model in listed:
            return
        try:
            self.ask(_HELLO, max_tokens=1)  # many servers take more names than they list
        except Missing as error:
            raise UserError(f"has no model {self.model!r}", where=self.url, how=f"{error.how}; {nearest(self.model, listed)}") from None
        except UserError:
            return  # what else is wrong with so short a question says nothing of others

    @property
    def _matters(self) -> list[str]:
        """Of the terms, what an answer depends on and the request does not show."""
        form = [] if self.terms.structured == "json_schema" else [self.terms.structured]
        return [*form, *(f"without {name}" for name in self.terms.leaves_out)]

    def _bought(self, key: str, request: dict[str, Any]) -> Reply:
        if self._answers is None:
            return self._buy(uuid.uuid4().hex, request)
        # Who asks the same at the same time waits for the first answer instead of buying a second.
        with self._answers.alone(key):
            reply = self._answers.kept(key)
            if reply is None:
                reply = self._buy(key, request)
                self._answers.keep(key, self.model, reply)
        return reply

    def _buy(self, key: str, request: dict[str, Any]) -> Reply:
        """`key` tells the server which tries are one request. A server that counts no tokens is counted for: its answers are not free."""
        read = _tokens("".join(str(message["content"]) for message in request["messages"]))
        estimate = read + int(request.get("max_tokens") or 0)
        self._reserve(estimate)
        try:
            heard = self._heard(key, request, estimate)
            bill = heard.bill or (read, _tokens(heard.text))
            self._pay(bill, estimate)
        finally:
            with self._paid:
                self._under_way -= estimate
                self._paid.notify_all()
        return Reply(heard.text, *bill, False, heard.finish_reason, heard.seconds)

    def _heard(self, key: str, request: dict[str, Any], estimate: int) -> Heard:
        """The first whole answer, after as many tries as are allowed."""
        retries, pause, broken = self.terms.retries, self.terms.retries.first_pause, 0
        form, left, asks_form = self._known.form, self.terms.retries.most, "response_format" in request
        while True:
            self._known.rate.take(estimate)
            body = self._sent(request, form)
            try:
                heard = self._wire.once(body, "-".join([key, form, str(broken), *sorted(body.keys() & _OPTIONS)]))
            except Failed as failed:
                self._pay(failed.bill, estimate, unheard=failed.sent and failed.bill is None)
                if self._known.learn(failed, body):
                    continue
                if failed.refuses_form and asks_form and form != FORMS[-1]:
                    form = FORMS[FORMS.index(form) + 1]
                    continue
                wait = failed.wait or 0.0
                if not failed.again or not left or wait > retries.longest_wait:
                    asks = f", and asks to be left alone for {wait:g} s" if wait > retries.longest_wait else ""
                    if failed.status == MISSING:
                        raise Missing(failed.what, where=self.url, how=f"check {self._given}") from None
                    raise UserError(failed.what + asks, where=self.url, how=failed.how) from None
                if wait:
                    self._known.rate.hold(wait)
                left, broken = left - 1, broken + failed.broken
                time.sleep(wait + random.uniform(0.0, pause))
                pause = min(retries.longest_pause, 2 * pause)
                self._affordable()
                continue
            if asks_form:
                self._known.form = form  # what was taken is asked for first from now on
            return heard

    def _sent(self, request: dict[str, Any], form: Form) -> dict[str, Any]:
        """The request as this server takes it."""
        names = self._known.names
        body = {named: value for name, value in request.items() if (named := names.get(name, name)) is not None}
        if "response_format" in body and form != "json_schema":
            schema = body.pop("response_format")["json_schema"]["schema"]
            told = TOLD + json.dumps(schema, ensure_ascii=False)
            first, *rest = body["messages"]
            system = first["role"] == "system"
            words = {"role": "system", "content": f"{first['content']}\n\n{told}" if system else told}
            body["messages"] = [words, *rest] if system else [words, first, *rest]
            body |= {"response_format": {"type": "json_object"}} if form == "json_object" else {}
        return body

    def _reserve(self, estimate: int) -> None:
        """Wait while what is under way may spend the rest of the budget."""
        with self._paid:
            while True:
                self._affordable()
                if not self._under_way or self._fits(estimate):
                    break
                self._paid.wait()
            self._under_way += estimate

    def _fits(self, estimate: int) -> bool:
        ahead = self._under_way + estimate
        dear = max(self.price.usd_in, self.price.usd_out) if self.price else 0.0
        fits = self.budget is None or self.spent + ahead <= self.budget
        return fits and (self.budget_usd is None or (self.usd or 0.0) + ahead * dear / 1e6 <= self.budget_usd)

    def _affordable(self) -> None:
        how = "answers so far are kept: raise {}, and run again"
        if self.budget is not None and self.spent >= self.budget:
            what = f"the budget of {self.budget} tokens is spent ({self.spent})"
            raise UserError(what, where=self.url, how=how.format("PP_PROVIDER_BUDGET"))
        if self.budget_usd is not None and (self.usd or 0.0) >= self.budget_usd:
            what = f"the budget of {self.budget_usd:g} US dollars is spent ({self.usd:.6g})"
            raise UserError(what, where=self.url, how=how.format("PP_PROVIDER_BUDGET_USD"))

    def _pay(self, bill: Bill | None, estimate: int, *, unheard: bool = False) -> None:
        """Account for a try, whose tokens were estimated before it."""
        self._known.rate.settle(estimate, sum(bill or (0, 0)))
        if bill and self._meter:
            self._meter.add(*bill)
        with self._paid:
            self.unheard += unheard
            self.spent += sum(bill or (0, 0))
            if self.price and self.usd is not None:
                self.usd += self.price.of(*bill or (0, 0))


def each(ask: Callable[[Item], Answer], items: Sequence[Item], at_once: int = AT_ONCE) -> Iterator[Answer]:
    """`ask` of every item, in their order, `at_once` at a time: an answer is seconds away and costs this machine nothing. The first error
    is raised in its place, and nothing more is asked then."""
    with ThreadPoolExecutor(at_once, "provider") as pool:
        yield from pool.map(ask, items)


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS)


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
