"""Reflection: a model is shown what went wrong in one field or dimension, explains it, and writes the instructions anew.

Its explanations are the notes of its candidates: what people read to learn why a prompt fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged
from pp_assets.prompts.propose.failures import failures, told
from pp_assets.prompts.propose.writing import Request, written

SHOWN = 6  # failures of a request
_WHY = "Explain what the present prompt leaves unclear that leads to these mistakes, and write one that prevents them."


@dataclass(frozen=True)
class Reflection:
    """One request for each group of failures, the largest of the best parent first; with more asked for, again with other failures."""

    source: str = "reflection"
    shown: int = SHOWN

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        if ground.model is None:
            return []
        trained = {row.item_id for row in ground.train}
        groups = [
            (parent, name, seen)
            for parent in parents
            for name, group in failures(ground.spec, parent).items()
            if (seen := [one for one in group if one.row.item_id in trained])
        ]
        rng, requests = generator(seed, self.source), []
        for parent, name, group in [groups[i % len(groups)] for i in range(count)] if groups else []:
            drawn = [group[i] for i in rng.permutation(len(group))[: self.shown]]
            heading = f"# What goes wrong\nWrong: {name}, in {len(group)} of {len(parent.rows)} answers. Some of them:"
            requests.append(Request(parent.candidate, "\n\n".join([heading, *(told(ground.spec, one) for one in drawn), _WHY])))
        return written(ground, requests, self.source, seed)
