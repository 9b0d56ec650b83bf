"""The model of a suite, and asking it: each distinct text once, and counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction, Predictor


@dataclass(frozen=True)
class Subject:
    """A model to be tested.

    `rewordings`: the same model behind other templates, where it reads one; `why_no_rewordings` a reason when it does and cannot be asked
    so. `before`: outputs by item id of earlier evaluations of the same weights, by a name for each.
    """

    name: str
    predictor: Predictor
    rewordings: Mapping[str, Predictor] = field(default_factory=dict)
    why_no_rewordings: str = ""
    before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class Asked:
    """The answers of one predictor so far. `asked` counts texts that were wanted, `calls` those that the model was given.

    `no_choices` says why there are no distributions, once they were asked for in vain.
    """

    predictor: Predictor
    known: dict[str, Prediction] = field(default_factory=dict)
    asked: int = 0
    calls: int = 0
    no_choices: str = ""

    def answers(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        """One prediction a text, in order; what was answered before is not asked again."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.asked += len(texts) - len(new)
        self.known |= dict(zip(new, self.fresh(new, distributions=distributions)))
        return [self.known[text] for text in texts]

    def fresh(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        """Asked whatever is known already, and not remembered."""
        self.asked += len(texts)
        self.calls += len(texts)
        if not texts:
            return []
        if distributions:
            try:
                return self.predictor.predict(texts, distributions=True)
            except UserError as error:
                self.no_choices = error.what
        return self.predictor.predict(texts)
