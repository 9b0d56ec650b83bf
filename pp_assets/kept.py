"""A model whose answers are kept: each text is asked once, and its answer is a cell of an experiment, on the disk when it is given.

A cell knows the model, the code that answers, the libraries and the text; so a changed metric asks nothing again, one more text is one more
call, and what was killed goes on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pp_assets.experiment.experiment import Experiment
from pp_assets.experiment.store import CellStore
from pp_assets.experiment.systems import ask
from pp_resources.models.interface import Choice, Prediction

BATCH = 512


class Model(Protocol):
    """What answers. `identity` tells it from any other: weights, prompt, schema, decoding."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]: ...


@dataclass
class KeptPredictor:
    """`model` as a Predictor that asks it for new texts alone. Raises what the model raises. `file` may be a store that is open.

    `version` is that of the code and libraries that answer. Another `trial` asks every text once more and keeps that too, and so are
    answers with distributions kept apart from those without. `batch` texts are asked at once: a kill costs at most so many answers.
    `asked` counts the texts that the model was given, by its name.
    """

    file: Path | CellStore
    model: Model
    version: str
    trial: int = 0
    batch: int = BATCH
    asked: Counter[str] = field(default_factory=Counter)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.model.name

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        different = list(dict.fromkeys(inputs))
        if not different:
            return []
        with self._store() as store:
            results = self._experiment(different, distributions, store).run(workers=1, on_error="raise")
            by_text = dict(zip(different, map(_prediction, results.df["answer"])))
        self.asked[self.name] += results.computed["answer"]
        return [by_text[text] for text in inputs]

    def unknown(self, inputs: Sequence[str]) -> list[str]:
        """Those that the model would be asked (without distributions), each once, in their order."""
        different = list(dict.fromkeys(inputs))
        if not different:
            return []
        with self._store() as store:
            exp = self._experiment(different, False, store)
            state = exp.grid().look(exp.steps["answer"])
        missing = set(state.missing(retry=True))
        return [text for text, key in zip(different, state.keys.ravel().tolist(), strict=True) if key in missing]

    def kept(self, inputs: Sequence[str]) -> dict[str, Prediction]:
        """The answers that are there, by text; the model is not asked."""
        different = list(dict.fromkeys(inputs))
        if not different or (isinstance(self.file, Path) and not self.file.exists()):
            return {}
        with self._store() as store:
            found = self._experiment(different, False, store).results().df
            return {text: _prediction(value) for text, value in zip(different, found["answer"]) if value is not None}

    def _store(self) -> AbstractContextManager[CellStore]:
        return nullcontext(self.file) if isinstance(self.file, CellStore) else CellStore(self.file)

    def _experiment(self, different: Sequence[str], distributions: bool, store: CellStore) -> Experiment:
        # What is not asked for is not in a key, so that a plain answer is found by whoever wants one.
        how: dict[str, list[Any]] = {"distributions": [True]} if distributions else {}
        how |= {"again": [self.trial]} if self.trial else {}
        step = replace(ask, version=self.version, batch=("input_text", self.batch))
        exp = Experiment([{"id": i, "input_text": text} for i, text in enumerate(different)], store=store)
        return exp.vary(model=[self.model], **how).step("answer", step)


def _prediction(value: Mapping[str, Any]) -> Prediction:
    choices = {path: [Choice(*choice) for choice in listed] for path, listed in value["choices"].items()}
    return Prediction(**{**value, "choices": choices, "reasoning": tuple(value["reasoning"])})
