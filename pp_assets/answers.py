"""What trained models answer, each text asked once: answers are cells, in `<home>/cells.db`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pp_assets.ensembles import member_artifacts
from pp_assets.kept import KeptPredictor
from pp_assets.pipeline import answering_spec, read_json
from pp_assets.result_facts import libraries
from pp_assets.sources import source_digest
from pp_resources.fingerprint import digest
from pp_resources.models.ensemble.predictor import COMBINER, Combiner, EnsemblePredictor
from pp_resources.models.interface import Prediction, Predictor

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task
    from pp_resources.artifacts import Artifact
    from pp_resources.models.causal_prompt import Prompt

Loaded = dict[tuple[str, "Prompt | None"], Predictor]


@dataclass(frozen=True)
class AdapterModel:
    """A trained adapter that is loaded when it is first asked; `behind` another prompt than the task's where one is given."""

    task: "Task"
    adapter: "Artifact"
    threads: int
    behind: "Prompt | None" = None
    loaded: Loaded = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.adapter.key

    @property
    def identity(self) -> str:
        """Of the weights, and of what the task says of prompt, schema and decoding."""
        own = f"{self.adapter.digest} {answering_spec(self.task)}"
        prompt = self.behind
        return own if prompt is None else f"{own} behind {digest([prompt.system, prompt.before, prompt.after])}"

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        return self._predictor(self.behind).predict(texts, distributions=distributions)

    def _predictor(self, behind: "Prompt | None") -> Predictor:
        key = (self.adapter.digest, behind)
        if key not in self.loaded:
            if behind is None:
                from pp_assets.training.predictors import load_predictor

                self.loaded[key] = load_predictor(self.adapter.path, self.task.spec, self.threads)
            else:
                self.loaded[key] = self._predictor(None).behind(behind)  # type: ignore[attr-defined]
        return self.loaded[key]


@dataclass(frozen=True)
class Answers:
    """Whoever asks adapters of one task: each is loaded once. `asked` counts the texts that they were given, by adapter."""

    p: "Pipeline"
    task: "Task"
    asked: Counter[str] = field(default_factory=Counter)
    loaded: Loaded = field(default_factory=dict)

    def of(self, adapter: "Artifact", *, behind: "Prompt | None" = None, trial: int = 0) -> Predictor:
        """The adapter as a Predictor that asks for new texts alone, in each `trial` anew. An ensemble is made of its members' answers, so
        that what they were asked before is not asked again. `behind`: another prompt, for a causal adapter that is not activated."""
        if members := member_artifacts(self.p, adapter):
            parts = [self.of(member, trial=trial) for member in members.values()]
            combiner = Combiner.of(read_json(adapter.file(COMBINER)))
            return EnsemblePredictor(adapter.key.partition("/")[2], parts, self.task.output_schema, combiner)
        model = AdapterModel(self.task, adapter, self.p.settings.threads, behind, self.loaded)
        version = f"{source_digest('pp_assets.training.predictors')} {libraries()}"
        return KeptPredictor(self.p.settings.home / "cells.db", model, version, trial, self.asked)


def answers(p: "Pipeline", task: "Task", adapter: "Artifact", texts: Sequence[str]) -> tuple[list[Prediction], int]:
    """(an answer for each text, how many texts models were asked)."""
    asking = Answers(p, task)
    return asking.of(adapter).predict(texts), asking.asked.total()
