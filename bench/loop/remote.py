"""Models behind an OpenAI-compatible address on loopback, in place of large ones, which are not here: right as often as they are told.

They know the right answers of the simulation. Whether one of them is right about a text is decided by the text and the seed alone.
"""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.serving import JsonHandler, answering, completion
from pp_assets.data.generation.made import seed_of
from pp_resources.json_schema import Schema, leaf_fields, set_path
from pp_resources.json_schema import dump_output as as_json


@dataclass(frozen=True)
class Model:
    """`right`: the share of texts that it answers rightly; else one field is wrong."""

    right: float


class Expert:
    """Answers texts whose truth has been told to it."""

    def __init__(self, schema: Schema, models: Mapping[str, Model], seed: int) -> None:
        self._schema, self._models, self._seed = schema, models, seed
        self.truths: dict[str, Mapping[str, Any]] = {}
        self._leaves = [leaf for leaf in leaf_fields(schema) if leaf.kind in ("enum", "boolean")]

    def answer(self, model: str, text: str) -> str:
        """KeyError for a text that nobody has told of."""
        rng, truth = random.Random(seed_of(self._seed, model, text)), json.loads(json.dumps(self.truths[text]))
        if rng.random() >= self._models[model].right:
            leaf = rng.choice(self._leaves)
            values = leaf.values or (True, False)
            before = as_json(self._schema, truth)
            set_path(truth, leaf.path, rng.choice(values))
            while as_json(self._schema, truth) == before:
                set_path(truth, leaf.path, rng.choice(values))
        return as_json(self._schema, truth)


@contextmanager
def served(expert: Expert) -> Iterator[str]:
    """Serve until the block ends; the address up to /v1."""

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            asked = self.asked()
            said = expert.answer(asked["model"], asked["messages"][-1]["content"])
            read = sum(len(one["content"]) for one in asked["messages"])
            self.send(200, completion(said, read // 4, len(said) // 4, model=asked["model"]))

    with answering(Handler) as url:
        yield f"{url}/v1"
