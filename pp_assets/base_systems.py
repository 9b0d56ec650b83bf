"""All baseline systems of a task on its test rows: the classical ones, and where a causal variant is planned, its bare base model."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.evaluation.baselines import DESCRIPTIONS, classical_baselines
from pp_assets.evaluation.predictions import System, make_rows
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task
from pp_resources.device import CPU, device_kind, find_device
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction, Predictor

if TYPE_CHECKING:
    from pp_resources.models.causal_prompt import Prompt, PromptEncoder


def answer_all(
    task: Task,
    train: Sequence[Example],
    val: Sequence[Example],
    test: Sequence[Example],
    *,
    embed: Callable[[Sequence[str]], np.ndarray],
    families: Collection[str],
    threads: int,
    keep: "Callable[[BareModel], Predictor]",
    device: str = CPU,
) -> list[System]:
    """Every baseline's answers. `train` are the written rows that adapters learn from; `embed` gives unit vectors by the task's encoder;
    `families` are those of the task's variants: each adds what its own base can do without an adapter, on `device` (as PP_DEVICE); `keep`
    makes of a language model one whose answers are kept."""
    import torch

    from pp_resources.models.bases import find_base

    torch.set_num_threads(threads)
    folder = find_base(task.spec.encoder_model_id)

    def contrast(texts: list[str], classes: np.ndarray) -> Callable[[list[str]], np.ndarray]:
        from pp_assets.training.contrastive import tuned_embedder

        return tuned_embedder(folder, texts, classes, task.spec.seed).embed

    asked = "contrastive-logreg" in task.spec.extra_baselines
    found = classical_baselines(task.spec, train, test, embed, contrast if asked else None)
    answers = {name: (DESCRIPTIONS[name], predictions) for name, predictions in found.items()}
    texts = [e.input_text for e in test]
    if "encoder" in families:
        answers["frozen-encoder"] = frozen_encoder(task, train, val, texts, threads=threads, device=device)
    if "causal" in families:
        models = bare_models(task, train, device)
        answers |= {model.name: (said, keep(model).predict(texts)) for model, said in models}
    return [
        System(name=name, kind="baseline", description=said, rows=make_rows(test, found, lambda out: dump_output(task.output_schema, out)))
        for name, (said, found) in answers.items()
    ]


def frozen_encoder(
    task: Task, train: Sequence[Example], val: Sequence[Example], texts: Sequence[str], *, threads: int, device: str = CPU
) -> tuple[str, list[Prediction]]:
    """The encoder as published, with heads trained on its frozen states: what LoRA has to beat."""
    import tempfile

    from pp_assets.training.encoder import EncoderRun
    from pp_assets.training.loop import train as train_on
    from pp_assets.training.overrides import recipe_of
    from pp_assets.training.predictors import load_predictor

    recipe, spec = recipe_of(task, "encoder-frozen"), task.spec
    with tempfile.TemporaryDirectory() as made:
        out = Path(made)
        train_on(EncoderRun(spec, recipe, train, val, spec.seed, threads, find_device(device)), out / "model", work=out / "work")
        return f"{recipe.description} ({spec.encoder_model_id})", load_predictor(out / "model", spec, threads, device).predict(texts)


class Base:
    """A base model as published, loaded when it is first asked."""

    def __init__(self, model_id: str, device: str = CPU) -> None:
        from transformers import AutoConfig

        from pp_resources.models.bases import find_base, weights_sha256
        from pp_resources.models.causal import context_length, load_tokenizer

        self.folder, self.device = find_base(model_id), device
        self.weights, self.tokenizer = weights_sha256(self.folder), load_tokenizer(self.folder)
        self.context = context_length(AutoConfig.from_pretrained(self.folder, local_files_only=True))

    @cached_property
    def model(self) -> Any:
        from pp_resources.models.causal import load_model

        return load_model(self.folder, device=find_device(self.device))


@dataclass(frozen=True)
class BareModel:
    """A base behind a prompt, free or bound to the schema; `budget` is the most tokens of an answer."""

    name: str
    base: Base
    schema: Mapping[str, Any]
    prompt: "Prompt"
    bound: bool
    budget: int

    @property
    def encoder(self) -> "PromptEncoder":
        from pp_resources.models.causal_prompt import PromptEncoder

        return PromptEncoder(self.base.tokenizer, self.prompt)

    @property
    def identity(self) -> str:
        from pp_assets.task.causal_prompt import golden_prompt

        of_base = [self.base.weights, device_kind(self.base.device)]
        return digest([*of_base, golden_prompt(self.encoder), self.schema, self.bound, self.budget], ordered=True)

    @cached_property
    def _predictor(self) -> Predictor:
        from pp_resources.models.causal import CausalPredictor

        options: dict[str, Any] = {"constrained": self.bound, "max_new_tokens": self.budget}
        return CausalPredictor(self.name, self.base.model, self.base.tokenizer, self.schema, self.prompt, **options)

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        return self._predictor.predict(texts, distributions=distributions)


def bare_models(task: Task, train: Sequence[Example], device: str = CPU) -> list[tuple[BareModel, str]]:
    """The bare base, zero-shot and few-shot, each free and bound to the schema, with what each is in words."""
    from pp_assets.task.causal_prompt import prompt_of

    spec = task.spec
    base = Base(spec.base_model_id, device)
    budget = answer_budget(task, train, base.tokenizer)
    shots = few_shot(train, spec.decoding.few_shot, spec.seed)
    found = []
    for few in (False, True):
        for bound in (False, True):
            examples = list(shots) if few else []
            name = f"base-{'few' if few else 'zero'}-shot{'-constrained' if bound else ''}"
            model = BareModel(name, base, spec.output_schema, prompt_of(spec, examples), bound, budget)
            # A base with a short context takes as many examples as leave half of it to the input.
            while examples and len(model.encoder.prefix_ids) + budget > base.context // 2:
                examples.pop()
                model = replace(model, prompt=prompt_of(spec, examples))
            if few and not examples:
                continue
            how = f"{len(examples) or 'no'} examples in the prompt, {'bound to the schema' if bound else 'free'}"
            found.append((model, f"The base model {spec.base_model_id}, {how}"))
    return found


def few_shot(train: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Examples for the prompt: a seeded draw among the shorter half, since long ones crowd out the rest."""
    shorter = sorted(train, key=lambda e: (len(e.input_text), e.item_id))[: max(count, len(train) // 2)]
    return random.Random(seed).sample(shorter, min(count, len(shorter)))


def answer_budget(task: Task, train: Sequence[Example], tokenizer: Any) -> int:
    """Token limit of an answer: the task's, else what the training answers need and half as much again."""
    from pp_resources.models.causal_prompt import token_budget

    answers = [dump_output(task.output_schema, e.output) for e in train]
    return task.spec.decoding.max_new_tokens or token_budget([len(tokenizer(a)["input_ids"]) + 1 for a in answers])
