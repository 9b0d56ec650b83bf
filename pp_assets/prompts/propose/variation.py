"""Small changes to a good prompt, and crosses of two: what keeps a search moving where nothing is learnt from failures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.propose.template import parts, sentences, with_sentences
from pp_assets.prompts.propose.writing import Request, written
from pp_assets.prompts.wording import Wording

_OTHER_WORDS = "Say the same in other words: every rule stays, none is added."
MOST_PAIRS = 6


@dataclass(frozen=True)
class Variation:
    """Parents in turn: said in other words where there is a model, else with one sentence less, or in another order."""

    source: str = "variation"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        if ground.model is not None:
            # A request of its own for each: the same one would be answered the same.
            orders = [f"{_OTHER_WORDS} This is version {i + 1} of {count}." for i in range(count)]
            requests = [Request(parents[i % len(parents)].candidate, order) for i, order in enumerate(orders)] if parents else []
            return written(ground, requests, f"{self.source}:paraphrase", seed)
        rng, found = generator(seed, self.source), dict[str, Candidate]()
        for one in (parent.candidate for parent in parents):
            for name, note, wording in _mutations(ground, one.wording, rng):
                made = Candidate.of(ground.spec, wording, Origin(f"{self.source}:{name}", (one.id,), note))
                if made.id != one.id:
                    found.setdefault(made.id, made)
        return list(found.values())[:count]


@dataclass(frozen=True)
class Crossover:
    """Of two parents, the best pairs first: parts (system prompt, template, examples) of one with those of the other, and the sentences of
    the one followed by those that the other has besides."""

    source: str = "crossover"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        rng, known = generator(seed, self.source), {parent.candidate.id for parent in parents}
        found: dict[str, Candidate] = {}
        for a, b in list(combinations([parent.candidate for parent in parents], 2))[:MOST_PAIRS]:
            crossed = _crosses(ground, a.wording, b.wording)
            for place in rng.permutation(len(crossed)):
                note, wording = crossed[place]
                made = Candidate.of(ground.spec, wording, Origin(self.source, (a.id, b.id), note))
                if made.id not in known:
                    found.setdefault(made.id, made)
        return list(found.values())[:count]


def _mutations(ground: Ground, wording: Wording, rng: np.random.Generator) -> list[tuple[str, str, Wording]]:
    """(name, note, wording): each sentence left out once, and one other order."""
    said = sentences(parts(wording.template)[0])
    if len(said) < 2:
        return []
    order = rng.permutation(len(said))
    other = with_sentences(ground.spec, wording, [_apart(said[i]) for i in order])
    made = [("reordered", "Its sentences in another order.", other)]
    for place in order:
        cut = with_sentences(ground.spec, wording, [*said[:place], *said[place + 1 :]])
        made.append(("dropped", f"Without: {' '.join(said[place].split())[:120]}", cut))
    return made


def _crosses(ground: Ground, a: Wording, b: Wording) -> list[tuple[str, Wording]]:
    """(note, wording) of all combinations of their parts, those of the parents themselves left out, and their instructions together."""
    made = []
    for system, template, shots in product((a, b), repeat=3):
        whole = replace(a, system=system.system, template=template.template, shots=shots.shots, reasoned=template.reasoned)
        if whole not in (a, b):
            names = ["first" if one is a else "second" for one in (system, template, shots)]
            made.append((f"System prompt of the {names[0]}, template of the {names[1]}, examples of the {names[2]} parent.", whole))
    own = sentences(parts(a.template)[0])
    known = {" ".join(one.split()) for one in own}
    more = [one for one in sentences(parts(b.template)[0]) if " ".join(one.split()) not in known]
    joined = with_sentences(ground.spec, a, map(_apart, [*own, *more]))
    if joined != a and more:
        made.append(("The instructions of the first parent and what the second says besides.", replace(joined, shots=a.shots or b.shots)))
    return made


def _apart(sentence: str) -> str:
    return sentence if not sentence or sentence[-1].isspace() else f"{sentence}\n"
