"""What trained models answer, each text asked once: answers are cells, in `<home>/cells.db`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pp_assets.ensembles import member_artifacts
from pp_assets.experiment.systems import TrainedModel, answering_code, of_adapter
from pp_assets.kept import KeptPredictor
from pp_assets.pipeline import read_json
from pp_resources.models.ensemble.predictor import COMBINER, Combiner, EnsemblePredictor
from pp_resources.models.interface import Prediction, Predictor

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task
    from pp_resources.artifacts import Artifact
    from pp_resources.models.causal_prompt import Prompt


@dataclass(frozen=True)
class Answers:
    """Whoever asks adapters of one task: each is loaded once. `asked` counts the texts that they were given, by adapter."""

    p: "Pipeline"
    task: "Task"
    asked: Counter[str] = field(default_factory=Counter)
    models: dict[str, TrainedModel] = field(default_factory=dict)

    def of(self, adapter: "Artifact", *, behind: "Prompt | None" = None, trial: int = 0) -> Predictor:
        """The adapter as a Predictor that asks for new texts alone, in each `trial` anew. An ensemble is made of its members' answers, so
        that what they were asked before is not asked again. `behind`: another prompt, for a causal adapter that is not activated."""
        if members := member_artifacts(self.p, adapter):
            parts = [self.of(member, trial=trial) for member in members.values()]
            combiner = Combiner.of(read_json(adapter.file(COMBINER)))
            return EnsemblePredictor(adapter.key.partition("/")[2], parts, self.task.output_schema, combiner)
        if adapter.digest not in self.models:
            self.models[adapter.digest] = of_adapter(self.p, self.task.spec, adapter)
        model = replace(self.models[adapter.digest], behind=behind)
        return KeptPredictor(self.p.settings.home / "cells.db", model, answering_code(), trial, asked=self.asked)


def answers(p: "Pipeline", task: "Task", adapter: "Artifact", texts: Sequence[str]) -> tuple[list[Prediction], int]:
    """(an answer for each text, how many texts models were asked)."""
    asking = Answers(p, task)
    return asking.of(adapter).predict(texts), asking.asked.total()
