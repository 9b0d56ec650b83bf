"""The model of a suite, and asking it: each distinct text once, and counted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction, Predictor


@dataclass(frozen=True)
class Subject:
    """A model to be tested.

    `rewordings`: the same model behind other templates, where it reads one; `why_no_rewordings` a reason when it does and cannot be asked
    so. `before`: outputs by item id of earlier evaluations of the same weights, by a name for each. `again` gives the predictor that is
    asked everything once more as trial 1, 2, …: one that keeps answers would else give those it has.
    """

    name: str
    predictor: Predictor
    rewordings: Mapping[str, Predictor] = field(default_factory=dict)
    why_no_rewordings: str = ""
    before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    again: Callable[[int], Predictor] | None = None


@dataclass
class Asked:
    """The answers of one predictor so far. `asked` counts texts that were wanted, `calls` those that had to be answered (by the
    model, or from answers that it gave to an earlier run: the same number either way).

    `again` as in Subject. `no_choices` says why there are no distributions, once they were asked for in vain.
    """

    predictor: Predictor
    again: Callable[[int], Predictor] | None = None
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

    def fresh(self, texts: Sequence[str], *, trial: int = 0, distributions: bool = False) -> list[Prediction]:
        """Asked whatever is known already, and not remembered: in trial 1, 2, … once more."""
        predictor = self.again(trial) if self.again is not None and trial else self.predictor
        self.asked += len(texts)
        self.calls += len(texts)
        if not texts:
            return []
        if distributions:
            try:
                return predictor.predict(texts, distributions=True)
            except UserError as error:
                self.no_choices = error.what
        return predictor.predict(texts)
