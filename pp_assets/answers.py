"""What a trained model answers, each text asked once: answers are cells of an experiment, in `<home>/cells.db`.

A cell knows the adapter, the code that answers, the libraries, the kind of device and the text; so a changed metric asks nothing again, and
one more example is one more call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pp_assets.ensembles import member_artifacts
from pp_assets.experiment.experiment import Experiment
from pp_assets.experiment.ops import op
from pp_assets.experiment.store import CellStore
from pp_assets.pipeline import answering_spec, read_json
from pp_assets.result_facts import libraries
from pp_assets.sources import source_digest
from pp_resources.device import device_kind
from pp_resources.models.ensemble.predictor import COMBINER, Combiner, FieldCombiner
from pp_resources.models.interface import Choice, Prediction, Predictor

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task
    from pp_resources.artifacts import Artifact

BATCH = 512  # texts of one call: a kill costs at most so many answers


@dataclass
class AdapterModel:
    """A trained adapter that is loaded when it is first asked."""

    task: "Task"
    adapter: "Artifact"
    threads: int
    device: str
    price = None
    _loaded: list[Predictor] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.adapter.key

    @property
    def identity(self) -> str:
        """Of the weights, of what the task says of prompt, schema and decoding, and of the kind of device."""
        return f"{self.adapter.digest} {answering_spec(self.task)} {device_kind(self.device)}"

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        from pp_assets.training.predictors import load_predictor

        if not self._loaded:
            self._loaded.append(load_predictor(self.adapter.path, self.task.spec, self.threads, self.device))
        return self._loaded[0].predict(texts)


def answers(p: "Pipeline", task: "Task", adapter: "Artifact", texts: Sequence[str]) -> tuple[list[Prediction], int]:
    """(an answer for each text, how many texts the model was asked). An ensemble is made of its members' answers, so that what they were
    asked before is not asked again. Raises what the model raises."""
    if members := member_artifacts(p, adapter):
        found = [answers(p, task, member, texts) for member in members.values()]
        fields = FieldCombiner(task.output_schema, Combiner.of(read_json(adapter.file(COMBINER))))
        return [fields.answer(said) for said in zip(*(told for told, _ in found))], sum(asked for _, asked in found)
    predict = op(_predict, version=f"{source_digest('pp_assets.training.predictors')} {libraries()}", batch=("texts", BATCH), sampled=False)
    different = list(dict.fromkeys(texts))
    if not different:
        return [], 0
    with CellStore(p.settings.home / "cells.db") as store:
        exp = Experiment([{"id": i, "text": text} for i, text in enumerate(different)], store=store)
        exp.vary(model=[AdapterModel(task, adapter, p.settings.threads, p.settings.device)]).step(
            "answer", predict, inputs={"texts": "text"}
        )
        results = exp.run(workers=1, on_error="raise")
        by_text = dict(zip(different, map(_prediction, results.df["answer"])))
    return [by_text[text] for text in texts], results.computed["answer"]


def _predict(model: AdapterModel, texts: list[str]) -> list[Prediction]:
    return model.predict(texts)


def _prediction(value: Mapping[str, Any]) -> Prediction:
    choices = {path: [Choice(*choice) for choice in listed] for path, listed in value["choices"].items()}
    return Prediction(**{**value, "choices": choices})
