"""The kinds of variants: a model of this process, a remote one, and those that are made of others."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from pp_assets.prompts.prompted import budget_of, unwrapped
from pp_assets.prompts.wording import Wording, reasoned_schema
from pp_assets.task.prompt import Shot
from pp_assets.task.spec import Task, TaskSpec
from pp_gateway.serve.engine import Batcher
from pp_gateway.serve.said import Answerer, Asked, Failed, Said
from pp_gateway.serve.upstream import Upstream, as_taken, cost_of, usage_of
from pp_resources.errors import UserError
from pp_resources.json_schema import output_validator
from pp_resources.models.ensemble.predictor import FieldCombiner
from pp_resources.models.interface import Prediction

Judge = Callable[[Asked, Sequence[Said]], Awaitable[Sequence[float]]]
"""How good each of several answers is."""
ShotsOf = Callable[[str], Sequence[Shot]]
"""The examples in the prompt of an input."""


class Local:
    """A model of this process. `cost`: of an answer, as declared."""

    def __init__(self, batcher: Batcher, cost: float | None = None) -> None:
        self.batcher, self._cost = batcher, cost

    async def ask(self, asked: Asked) -> Said:
        waiting = self.batcher.submit(asked.text, low=asked.low)
        try:
            async with asyncio.timeout(max(0.0, asked.left)):
                found: Prediction = await waiting
        except TimeoutError:
            raise Failed(504, "timeout", "no answer in time") from None
        except UserError as error:
            raise Failed(500, "model_failed", str(error)) from None
        except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise Failed(500, "model_failed", f"{type(error).__name__}: {error}"[:300]) from error
        return Said(
            found.text,
            found.confidence,
            found.fields,
            found.tokens_in,
            found.tokens_out,
            finish_reason=found.finish_reason,
            cost=self._cost,
        )

    async def stream(self, asked: Asked) -> AsyncIterator[str | Said]:
        """In one piece: an answer bound to a schema is of use when it is whole."""
        said = await self.ask(asked)
        yield said.text
        yield said


class RemoteModel:
    """A remote model behind a wording of a task."""

    def __init__(self, upstream: Upstream, spec: TaskSpec, wording: Wording, shots: ShotsOf | None = None) -> None:
        self.upstream, self._remote, self._spec, self._wording, self._shots = upstream, upstream.remote, spec, wording, shots

    async def ask(self, asked: Asked) -> Said:
        found = await self.upstream.complete(orjson.dumps(await self._body(asked)), asked.ends)
        choice = found["choices"][0]
        message = choice["message"]
        return self._said(message.get("content") or "", found, choice.get("finish_reason"), message)

    async def stream(self, asked: Asked) -> AsyncIterator[str | Said]:
        body = await self._body(asked) | {"stream": True, "stream_options": {"include_usage": True}}
        parts, last, reason = [], dict[str, Any](), "stop"
        async for _, found in self.upstream.stream(orjson.dumps(body), asked.ends):
            last = found if found.get("usage") else last
            for choice in found.get("choices") or ():
                reason = choice.get("finish_reason") or reason
                if text := (choice.get("delta") or {}).get("content"):
                    parts.append(text)
                    yield text
        yield self._said("".join(parts), last, reason, {})

    async def _body(self, asked: Asked) -> dict[str, Any]:
        # Choosing examples embeds the input: not in the event loop.
        wording = self._wording.showing(await asyncio.to_thread(self._shots, asked.text)) if self._shots else self._wording
        messages = wording.messages(self._spec, asked.text)
        body: dict[str, Any] = {"model": self._remote.model, "messages": messages, "temperature": self._remote.temperature}
        if self._remote.max_tokens is not None:
            body["max_tokens"] = self._remote.max_tokens
        if asked.seed:
            body["seed"] = asked.seed
        body |= asked.params
        if "max_tokens" in body:  # a limit of the answer: who asked knows of no steps
            body["max_tokens"] = budget_of(wording, body["max_tokens"])
        if self._remote.structured == "json_schema":
            wanted = dict(asked.schema or self._spec.output_schema)
            form = {"name": "answer", "schema": reasoned_schema(wanted) if wording.reasoned else wanted, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self._remote.structured == "json_object":
            body["response_format"] = {"type": "json_object"}
        return as_taken(self._remote, body)

    def _said(self, text: str, found: Mapping[str, Any], reason: str | None, message: Mapping[str, Any]) -> Said:
        tokens = usage_of(found)
        if message.get("refusal"):
            reason = "content_filter"
        return Said(text, None, {}, *tokens, cost=cost_of(self._remote, tokens), finish_reason=reason or "stop")


class _Whole(ABC):
    """What variants made of others share: no pieces before there is a whole."""

    @abstractmethod
    async def ask(self, asked: Asked) -> Said: ...

    async def stream(self, asked: Asked) -> AsyncIterator[str | Said]:
        said = await self.ask(asked)
        yield said.text
        yield said


class Reasoned(_Whole):
    """A variant that says steps before its answer, which is given alone. Nothing of a stream is the answer before the steps have ended: it
    comes in one piece, and until then another variant can take its place."""

    def __init__(self, inner: Answerer, wording: Wording, spec: TaskSpec) -> None:
        self._inner, self._wording, self._spec = inner, wording, spec

    async def ask(self, asked: Asked) -> Said:
        said = await self._inner.ask(asked)
        whole = Prediction(said.text, said.confidence, said.fields)
        found = unwrapped(whole, self._wording, asked.schema or self._spec.output_schema)
        return replace(said, text=found.text, confidence=found.confidence, fields=found.fields, reasoning=found.reasoning)


class BestOf(_Whole):
    """The best of several answers; those that fail are not missed as long as one is left."""

    def __init__(self, candidates: Sequence[tuple[str, Answerer]], judge: Judge) -> None:
        self._candidates, self._judge = candidates, judge

    async def ask(self, asked: Asked) -> Said:
        answers = await _all(self._candidates, asked)
        made = [said for said in answers if said is not None]
        scores = await self._judge(asked, made)
        return together(made[max(range(len(made)), key=lambda place: scores[place])], answers)


class Vote(_Whole):
    """What several members say together, field by field."""

    def __init__(self, members: Sequence[tuple[str, Answerer]], combiner: FieldCombiner) -> None:
        self._members, self._combiner = members, combiner

    async def ask(self, asked: Asked) -> Said:
        answers = await _all(self._members, asked)
        # A member that failed says nothing that the schema allows, which counts for nothing.
        said = [Prediction("" if one is None else one.text, None if one is None else one.confidence) for one in answers]
        made = self._combiner.combine(said)
        first = next(one for one in answers if one is not None)
        return together(replace(first, text=made.text, confidence=made.confidence, fields=made.fields, reasoning=()), answers)


class Steps(_Whole):
    """One variant after the other, until one is sure enough of an answer that the schema allows; the last one's answer stands whatever it
    is."""

    def __init__(self, steps: Sequence[tuple[str, Answerer]], threshold: float, valid: Callable[[str], bool]) -> None:
        self._steps, self._threshold, self._valid = steps, threshold, valid

    async def ask(self, asked: Asked) -> Said:
        answers: list[Said] = []
        for name, step in self._steps:
            try:
                answers.append(replace(await step.ask(asked), parts=[name]))
            except Failed:
                if name == self._steps[-1][0] and not answers:
                    raise
                continue
            if (answers[-1].confidence or 0.0) >= self._threshold and self._valid(answers[-1].text):
                break
        return together(answers[-1], answers)


def together(said: Said, answers: Sequence[Said | None]) -> Said:
    """An answer with the tokens and the cost of all; one that is not known makes the sum unknown."""
    made = [one for one in answers if one is not None]
    tokens_in, tokens_out, costs = ([getattr(one, name) for one in made] for name in ("tokens_in", "tokens_out", "cost"))
    return replace(said, tokens_in=_sum(tokens_in), tokens_out=_sum(tokens_out), cost=_sum(costs))


def _sum(values: Sequence[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)


async def _all(members: Sequence[tuple[str, Answerer]], asked: Asked) -> list[Said | None]:
    """What each says, None where it failed. Raises Failed where all do."""
    asking = [member.ask(replace(asked, seed=place)) for place, (_, member) in enumerate(members)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    answers: list[Said | None] = []
    for (name, _), one in zip(members, found, strict=True):
        if isinstance(one, BaseException) and not isinstance(one, Failed):
            raise one
        answers.append(replace(one, parts=[name]) if isinstance(one, Said) else None)
    if not any(one is not None for one in answers):
        raise next(one for one in found if isinstance(one, Failed))
    return answers


def by_confidence(valid: Callable[[str], bool]) -> Judge:
    """Valid answers before others, then the surest; one without a confidence is the least sure."""

    async def judge(_asked: Asked, answers: Sequence[Said]) -> list[float]:
        return [2.0 * valid(said.text) + (-1.0 if said.confidence is None else said.confidence) for said in answers]

    return judge


def by_contract(task: Task) -> Judge:
    """Valid answers before others, then those that score best by the task's contract."""
    from pp_assets.task.contract.files import load_contract
    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import score_rows

    contract, valid = load_contract(task), output_validator(task.output_schema)

    def score(text: str, answers: Sequence[Said]) -> list[float]:
        totals = score_rows(contract, [Row(text, said.text) for said in answers]).total
        return [2.0 * valid.is_valid(parse(said.text)) + float(np.nan_to_num(total)) for said, total in zip(answers, totals)]

    async def judge(asked: Asked, answers: Sequence[Said]) -> list[float]:
        return await asyncio.to_thread(score, asked.text, answers)

    return judge


def parse(text: str) -> Any:
    """The JSON of an answer, None where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
