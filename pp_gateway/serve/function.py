"""A task as a function: checks what is asked, chooses who answers, asks others where that one cannot, and tells what became of it."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonschema.protocols import Validator

from pp_assets.routing.sticky import choose, shadows
from pp_assets.serving.doubt import Doubt
from pp_assets.serving.spec import Serving
from pp_assets.task.spec import TaskSpec
from pp_gateway.serve.forms import fits
from pp_gateway.serve.handoff import Doubter
from pp_gateway.serve.logbook import Redactor
from pp_gateway.serve.said import Answerer, Asked, Failed, Refused, Said
from pp_gateway.serve.variants import parse
from pp_gateway.serve.weights import Decisions, Shares, decided, static
from pp_resources.errors import nearest
from pp_resources.json_schema import output_validator
from pp_resources.store.ids import now, uuid7
from pp_resources.store.rows import Inference
from pp_resources.store.work import QueueItem


@dataclass(slots=True)
class Call:
    """A request to a function, and what became of it. `chain` are the variants that could not answer, each with the reason; `doubt` is why
    the answer goes to a person, `item` under which id it is queued."""

    asked: Asked
    episode: str
    pinned: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    id: str = field(default_factory=uuid7)
    at: int = field(default_factory=now)
    began: float = field(default_factory=time.perf_counter)
    variant: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)
    chain: list[dict[str, Any]] = field(default_factory=list)
    said: Said | None = None
    parsed: Any = None
    valid: bool | None = None
    error: str | None = None
    shadow: bool = False
    doubt: Doubt | None = None
    item: str | None = None

    @property
    def latency_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 3)


@dataclass(frozen=True)
class OnTrial:
    """A package that gets copies of a share of the traffic, to be compared with what the package `of` says to the same; nobody sees what it
    says, and nobody can ask for it."""

    name: str
    answerer: Answerer
    package: str
    of: str
    share: float


class Function:
    """One task in one configuration. `digest` names the configuration in every row, `versions` the model behind each variant's name,
    `packages` are digests by variant."""

    def __init__(
        self,
        spec: TaskSpec,
        serving: Serving,
        variants: Mapping[str, Answerer],
        champion: str,
        *,
        digest: str,
        versions: Mapping[str, str],
        redactor: Redactor,
        decisions: Decisions | None,
        key: str,
        packages: Mapping[str, str] | None = None,
        on_trial: OnTrial | None = None,
        doubter: Doubter | None = None,
    ) -> None:
        self.name, self.spec, self.serving, self.variants, self.champion = spec.name, spec, serving, variants, champion
        self.digest, self.versions, self.redactor = digest, versions, redactor
        self.on_trial, self.packages = on_trial, dict(packages or {})
        self._asked = dict(variants)
        if on_trial is not None:
            self._asked[on_trial.name] = on_trial.answerer
            self.packages[on_trial.name] = on_trial.package
        self.decisions, self._key, self._doubter = decisions, key, doubter
        self._static = static(serving.routing, champion)
        self._decided: tuple[Any, Shares | None] = (None, None)
        self._inputs = output_validator(spec.io_schema.input) if spec.io_schema.input != {"type": "string"} else None
        self.outputs = output_validator(spec.output_schema)

    @property
    def shares(self) -> Shares:
        """The weights in force."""
        found = self.decisions.latest.get(self.name) if self.decisions and self.serving.routing else None
        if found is None or self.serving.routing is None:
            return self._static
        if found is not self._decided[0]:
            self._decided = found, decided(found, self.serving.routing, self.variants)
        return self._decided[1] or self._static

    def check(self, text: str) -> None:
        """Raises Refused for a text that is no input of this task."""
        if not text.strip():
            raise Refused(400, "empty_input", "the input is empty", param="input")
        limit = self.spec.limits.max_input_chars
        if len(text) > limit:
            raise Refused(
                413, "input_too_long", f"the input has {len(text)} characters, more than the task's limit of {limit}", param="input"
            )
        if self._inputs is not None:
            problem = next(self._inputs.iter_errors(text), None)
            if problem:
                raise Refused(400, "wrong_input", f"the input breaks the task's input schema: {problem.message[:300]}", param="input")

    def known(self, variant: str) -> str:
        """The name, where it is a variant. Raises Refused."""
        if variant not in self.variants:
            raise Refused(404, "unknown_variant", f"{variant!r} is no variant of {self.name}", how=nearest(variant, self.variants))
        return variant

    async def answer(self, call: Call) -> None:
        """Fill in what the first variant says that can. Raises Failed when none can; `call` then tells which were asked."""
        order = self._begin(call)
        for place, variant in enumerate(order):
            call.variant = variant
            try:
                call.said = await self._asked[variant].ask(self._share(call.asked, len(order) - place))
            except Failed as error:
                self._failed(call, error, last=place == len(order) - 1)
                continue
            self._answered(call)
            return

    async def stream(self, call: Call) -> AsyncIterator[str]:
        """Pieces of the answer; `call` is filled in at the end. Another variant is asked only before the first piece."""
        order = self._begin(call)
        for place, variant in enumerate(order):
            begun = False
            call.variant = variant
            try:
                async for piece in self._asked[variant].stream(self._share(call.asked, len(order) - place)):
                    if isinstance(piece, Said):
                        call.said = piece
                        self._answered(call)
                        return
                    begun = True
                    yield piece
            except Failed as error:
                self._failed(call, error, last=begun or place == len(order) - 1)

    async def look_over(self, call: Call) -> None:
        """Say why an answer goes to a person, where it does."""
        if self._doubter is not None and call.said is not None and not call.shadow:
            said = call.said
            call.doubt = await self._doubter.doubt(call.id, call.asked.text, said.text, said.confidence, call.valid)

    def item(self, call: Call) -> QueueItem | None:
        """What is queued of a call. It bears the id of the inference, so that an answer is queued once."""
        if call.doubt is None or call.said is None:
            return None
        detail = {**call.doubt.detail, "fields": dict(call.said.fields)}
        return QueueItem(
            id=call.id, at=call.at, inference=call.id, task=self.name, reason=call.doubt.reason, detail=detail, subject=call.subject
        )

    def copies(self, call: Call) -> list[str]:
        """The variants that get a copy of an answered call. A package on trial is compared with another one: where that did not answer, it
        gets a copy as well, so that a variant which has lost its traffic can be renewed, too."""
        shares, trial = self.shares.shadow, self.on_trial
        beside = next((name for name in self.variants if trial and self.packages.get(name) == trial.of), None)
        if trial is not None and beside is not None:
            shares = {**shares, trial.name: trial.share}
        chosen = shadows(shares, self.name, call.episode, self._key) if shares else []
        if trial is not None and trial.name in chosen and self.packages.get(call.variant) != trial.of and beside not in chosen:
            chosen.append(str(beside))
        return chosen

    def row(self, call: Call) -> Inference:
        """What is stored of a call."""
        said = call.said
        row = Inference(
            id=call.id,
            at=call.at,
            task=self.name,
            variant=call.variant,
            input=call.asked.text,
            output=None if said is None else said.text.replace("\0", "\ufffd"),
            episode=call.episode,
            valid=call.valid,
            error=call.error,
            latency_ms=call.latency_ms,
            tokens_in=None if said is None else said.tokens_in,
            tokens_out=None if said is None else said.tokens_out,
            cost=None if said is None else said.cost,
            confidence=None if said is None else said.confidence,
            tags=dict(call.tags),
            subject=call.subject,
            shadow=call.shadow,
            config=self.digest,
            decision=self._told(call),
            chain=call.chain,
        )
        return self.redactor.row(row)

    def _told(self, call: Call) -> dict[str, Any]:
        """How the variant was chosen, the steps that led to the answer where it was asked for some, and the package that answered or should
        have; of one made of others, that which was heard."""
        names = [call.variant, *(call.said.parts if call.said else ())]
        package = next((self.packages[name] for name in names if name in self.packages), None)
        told = {**call.told, "version": self.versions.get(call.variant)}
        if call.said is not None and call.said.reasoning:
            told["reasoning"] = [step.replace("\0", "\ufffd") for step in call.said.reasoning]
        return {**told, "package": package} if package else told

    def _begin(self, call: Call) -> Sequence[str]:
        if call.pinned is not None:
            call.variant = call.pinned if call.shadow else self.known(call.pinned)
            call.told = {"basis": "pinned"}
            return [call.variant]
        shares = self.shares
        call.variant = choose(shares.weights, self.name, call.episode, self._key) if len(shares.weights) > 1 else next(iter(shares.weights))
        call.told = shares.told
        return [call.variant, *(name for name in self.serving.fallbacks if name != call.variant)]

    @staticmethod
    def _share(asked: Asked, among: int) -> Asked:
        """What is left of the time, shared out evenly: a variant that hangs leaves the others theirs."""
        if among == 1:
            return asked
        ends = time.monotonic() + asked.left / among
        return Asked(asked.text, ends, asked.schema, asked.params, asked.low, asked.seed)

    def _failed(self, call: Call, error: Failed, *, last: bool) -> None:
        package = {"package": self.packages[call.variant]} if call.variant in self.packages else {}
        call.chain.append({"variant": call.variant, "code": error.code, "error": error.what, **package})
        if last or not error.again:
            call.error = error.what
            raise error

    def _answered(self, call: Call) -> None:
        assert call.said is not None
        call.parsed = parse(call.said.text)
        call.valid = call.parsed is not None and self.outputs.is_valid(call.parsed)


def check_form(call: Call, form: Validator | None) -> None:
    """Raises Failed where the caller asked for another form than the answer has."""
    if form is not None and (call.parsed is None or not fits(form, call.parsed)):
        call.valid = False
        raise Failed(
            422, "invalid_output", "the answer does not follow the schema that was asked for", how="ask for the task's own", again=False
        )
