"""What a trained model answers, each text asked once: answers are cells of an experiment, in `<home>/cells.db`.

A cell knows the adapter, the code that answers, the libraries and the text; so a changed metric asks nothing again, and one more example is
one more call.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pp_assets.ensembles import member_artifacts
from pp_assets.experiment.experiment import Experiment
from pp_assets.experiment.store import CellStore
from pp_assets.experiment.systems import ask, of_adapter
from pp_assets.pipeline import read_json
from pp_resources.models.ensemble.predictor import COMBINER, Combiner, FieldCombiner
from pp_resources.models.interface import Choice, Prediction

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task
    from pp_resources.artifacts import Artifact


def answers(p: "Pipeline", task: "Task", adapter: "Artifact", texts: Sequence[str]) -> tuple[list[Prediction], int]:
    """(an answer for each text, how many texts the model was asked). An ensemble is made of its members' answers, so that what they were
    asked before is not asked again. Raises what the model raises."""
    if members := member_artifacts(p, adapter):
        found = [answers(p, task, member, texts) for member in members.values()]
        fields = FieldCombiner(task.output_schema, Combiner.of(read_json(adapter.file(COMBINER))))
        return [fields.answer(said) for said in zip(*(told for told, _ in found))], sum(asked for _, asked in found)
    different = list(dict.fromkeys(texts))
    if not different:
        return [], 0
    with CellStore(p.settings.home / "cells.db") as store:
        exp = Experiment([{"id": i, "input_text": text} for i, text in enumerate(different)], store=store)
        results = exp.vary(model=[of_adapter(p, task.spec, adapter)]).step("answer", ask).run(workers=1, on_error="raise")
        by_text = dict(zip(different, map(_prediction, results.df["answer"])))
    return [by_text[text] for text in texts], results.computed["answer"]


def _prediction(value: Mapping[str, Any]) -> Prediction:
    choices = {path: [Choice(*choice) for choice in listed] for path, listed in value["choices"].items()}
    return Prediction(**{**value, "choices": choices})
