"""The worked examples that variants answer by: by task, in memory, kept up to date from the store. No request reads it."""

import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

import numpy as np

from pp_assets.prompts.dicl.retriever import Embed, Refresher, Retriever
from pp_assets.prompts.dicl.shelf import Shelf
from pp_assets.prompts.dicl.stage import encoder_name
from pp_assets.prompts.dicl.systems import BlendedPredictor
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_resources.models.bases import find_base
from pp_resources.models.interface import Predictor
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store


class Examples:
    """One retriever a task and encoder, made when a variant first wants it. Any thread may choose with it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._embeds: dict[str, Embed] = {}
        self._kept: dict[tuple[str, str], tuple[Retriever, Refresher]] = {}
        self._blended: dict[tuple[str, str], tuple[BlendedPredictor, Sequence[Example]]] = {}

    def retriever(self, task: Task) -> Retriever:
        """That of a task, with the examples of now where the store can be read, and those of later when it can. Raises UserError where the
        encoder is not there."""
        model_id = task.spec.encoder_model_id
        name = (task.name, model_id)
        if name not in self._kept:
            made = Retriever(self._embed(model_id))
            refresher = Shelf(self._store, task.name).refresher(made, encoder_name(model_id), after=lambda: self._fit(made))
            with suppress(StoreUnavailable):
                refresher.refresh()
            self._kept[name] = made, refresher.start()
        return self._kept[name][0]

    def blended(self, task: Task, key: str, inner: Predictor, val: Sequence[Example], where: Executor) -> BlendedPredictor:
        """An encoder with a head of neighbours, whose weights are fitted anew when the examples have grown. `key` names the model; where it
        computes, its answers to the validation rows are asked for once."""
        if (task.name, key) not in self._blended:
            made = BlendedPredictor(inner.name, inner, task.spec, self.retriever(task))
            where.submit(made.fit, val).result()
            self._blended[task.name, key] = made, val
        return self._blended[task.name, key][0]

    def keep(self, keys: Collection[str]) -> None:
        """Let go of all models but these."""
        self._blended = {place: one for place, one in self._blended.items() if place[1] in keys}

    def _fit(self, retriever: Retriever) -> None:
        for made, val in list(self._blended.values()):
            if made.retriever is retriever:
                made.fit(val)

    def status(self) -> dict[str, Any]:
        """By task how many examples there are, why they could not be read last, and by field how much neighbours have to say."""
        told: dict[str, Any] = {}
        for (task, _), (made, one) in self._kept.items():
            models = [model for (name, _), (model, _) in self._blended.items() if name == task]
            blends = {path: blend.weight for model in models for path, blend in model.blends.items()}
            told[task] = {"examples": len(made.index), "error": str(one.error or ""), "neighbours": blends}
        return told

    def close(self) -> None:
        for _, refresher in self._kept.values():
            refresher.close()

    def _embed(self, model_id: str) -> Embed:
        if model_id not in self._embeds:
            from pp_resources.models.embedder import Embedder

            embedder, one_at_a_time = Embedder(find_base(model_id)), threading.Lock()

            def embed(texts: Sequence[str]) -> np.ndarray:
                with one_at_a_time:  # a tokenizer that pads cannot be used by two threads
                    return embedder.embed(texts)

            self._embeds[model_id] = embed
        return self._embeds[model_id]
