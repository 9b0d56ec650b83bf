"""What a task's served variants say to rows whose answers are known: without a server, and nothing goes into the store of use.

Each text is asked once: answers are cells (`pp_assets.kept`), so that what was interrupted goes on, and another tolerance costs nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pp_assets.champion import standing
from pp_assets.experiment.systems import answering_code
from pp_assets.kept import KeptPredictor
from pp_assets.pipeline import DATASETS
from pp_assets.serving.examples import Examples
from pp_assets.serving.remotes import settled
from pp_assets.serving.spec import Remote, Serving, Variant, parts_of, shows_examples
from pp_assets.serving.versions import packaged
from pp_assets.sources import source_digest
from pp_assets.task.examples import Example, read_split
from pp_assets.task.spec import Task, load_task
from pp_gateway.serve.build import Builder
from pp_gateway.serve.config import GatewayConfig
from pp_gateway.serve.engine import Engine
from pp_gateway.serve.function import Function
from pp_gateway.serve.parts import Parts
from pp_gateway.serve.said import Answerer, Asked, Failed, Said
from pp_gateway.serve.upstream import cost_of
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.models.interface import Prediction
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store

AT_ONCE = 32  # texts: as many answers are lost by a kill
SECONDS = 120.0  # for an answer: nobody waits for it


@dataclass(frozen=True)
class Heard:
    """The validation rows of a task; for each that was asked its name, what it says to them in their order, and what each answer costs (US
    dollars, None where it has no price)."""

    task: Task
    rows: Sequence[Example]
    names: Sequence[str]
    said: Sequence[Sequence[Prediction]]
    costs: Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class _Asking:
    """A served variant as a model of an experiment."""

    name: str
    identity: str
    answerer: Answerer
    runner: asyncio.Runner

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:  # noqa: ARG002  it has none
        return self.runner.run(self._all(texts))

    async def _all(self, texts: Sequence[str]) -> list[Prediction]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(text: str) -> Said:
            async with room:
                return await self.answerer.ask(Asked(text, time.monotonic() + SECONDS))

        try:
            said = await asyncio.gather(*map(one, texts))
        except Failed as error:
            how = error.how or "try again: it goes on from here"
            raise UserError(f"cannot answer: {error.what}", where=f"variant {self.name}", how=how) from None
        return [Prediction(one.text, one.confidence, dict(one.fields), one.tokens_in or 0, one.tokens_out or 0) for one in said]


def hear(settings: Settings, name: str, wanted: Sequence[str]) -> Heard:
    """Ask variants of a task for its validation rows; "" is the one that answers where nothing else is said. Raises UserError for a name
    that is no variant, and where one cannot answer."""
    artifacts, task = ArtifactStore(settings.home), load_task(name, settings.tasks)
    variants = variants_of(artifacts, task)
    names = [one or standing(settings.home, task, variants) for one in wanted]
    for one in names:
        if one not in variants:
            raise UserError(f"{one!r} is no variant", where=f"task {task.name}: serving.variants", how=nearest(one, variants))
    rows = read_split(artifacts.require(DATASETS, task.name, f"run 'pp data build {task.name}'").path, "val")
    texts, said = [row.input_text for row in rows], []
    code = f"{answering_code()} {source_digest('pp_gateway.serve.variants')}"
    with asyncio.Runner() as runner, _loaded(settings, task, _needed(variants, names), runner) as function:
        for one in names:
            parts = _needed(variants, [one])
            made_of = [function.versions[one], {part: variant.model_dump(mode="json") for part, variant in parts.items()}]
            model = _Asking(one, digest(made_of), function.variants[one], runner)
            if shows_examples(Serving(variants=parts)):  # examples grow, and answers with them
                said.append(model.predict(texts))
            else:
                said.append(KeptPredictor(settings.home / "cells.db", model, code, batch=AT_ONCE).predict(texts))
    variants = {name: settled(one, settings, name) if isinstance(one, Remote) else one for name, one in variants.items()}
    costs = [[_cost(variants, name, one) for one in answers] for name, answers in zip(names, said, strict=True)]
    return Heard(task, rows, names, said, costs)


def variants_of(artifacts: ArtifactStore, task: Task) -> dict[str, Variant]:
    """The variants that a task is served by: those it names, else every packaged one."""
    return (dict(task.spec.serving.variants) if task.spec.serving else {}) or packaged(artifacts, task)


def _cost(variants: Mapping[str, Variant], name: str, said: Prediction) -> float | None:
    remote = variants.get(str(getattr(variants[name], "of", name)))
    if isinstance(remote, Remote):
        return cost_of(remote, (said.tokens_in or None, said.tokens_out))
    return getattr(variants[name], "cost", None)


def _needed(variants: Mapping[str, Variant], names: Sequence[str]) -> dict[str, Variant]:
    """Variants with those that they are made of, and what these send their prompts to."""
    parts = {*names, *(part for name in names for part in parts_of(variants[name]))}
    parts |= {str(of) for name in parts if (of := getattr(variants[name], "of", None))}
    return {name: variant for name, variant in variants.items() if name in parts}


@contextmanager
def _loaded(settings: Settings, task: Task, variants: dict[str, Variant], runner: asyncio.Runner) -> Iterator[Function]:
    """These variants of a task alone, as the gateway makes them; their connections belong to the loop of `runner`."""
    task = replace(task, spec=task.spec.model_copy(update={"serving": Serving(variants=variants)}))
    builder = Builder(settings, Engine(settings.threads), examples=Examples(open_store(settings.home, settings.store_url)))
    try:
        parts = Parts(builder, GatewayConfig())
        parts.add(task)
        yield runner.run(_in_loop(parts.assemble)).functions[task.name]
    finally:
        runner.run(_in_loop(builder.close))


async def _in_loop(call: Callable[[], Any]) -> Any:
    return call()
