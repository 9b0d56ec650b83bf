"""Models that see chosen examples: a language model in its prompt, an encoder through its neighbours."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pp_assets.data.labels import label_fields
from pp_assets.prompts.dicl.head import NEIGHBOURS, Blend, blended, fit_blends
from pp_assets.prompts.dicl.index import Index, Worked
from pp_assets.prompts.dicl.retriever import Choosing, Cost, Retriever
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output, get_path, output_validator, set_path
from pp_resources.models.interface import Prediction, Predictor

if TYPE_CHECKING:
    from pp_resources.models.causal import CausalPredictor


class ContextPredictor:
    """A language model whose prompt holds other examples for each input. `choosing.tokens` None: what leaves half of the model's context
    to the input; `wording`: other words than the task's. Raises UserError for an activated adapter, which belongs to one prompt."""

    def __init__(
        self,
        name: str,
        spec: TaskSpec,
        inner: "CausalPredictor",
        retriever: Retriever,
        choosing: Choosing | None = None,
        wording: Wording | None = None,
    ) -> None:
        from pp_resources.models.causal import context_length

        self.name, self._spec, self._inner, self._retriever = name, spec, inner, retriever
        self._wording = wording or Wording.of(spec)
        self._cost = shot_tokens(spec, inner.tokenizer, self._wording)
        choosing = choosing or Choosing()
        bare = inner.behind(self._wording.prompt(spec)).encoder
        room = context_length(inner.model.config) // 2 - len(bare.prefix_ids) - inner.max_new_tokens
        self.choosing = choosing if choosing.tokens is not None else replace(choosing, tokens=max(0, room))

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        embed = self._retriever.embed
        if embed is None:
            raise UserError("the retriever has no encoder", where=self.name, how="give it one")
        made = []
        for text, vector in zip(inputs, embed(list(inputs)) if inputs else ()):
            shots = self._retriever.select(text, self.choosing, vector=vector, cost=self._cost)
            made += self._inner.behind(self._wording.showing(shots).prompt(self._spec)).predict([text], distributions=distributions)
        return made


def shot_tokens(spec: TaskSpec, tokenizer: Any, wording: Wording | None = None) -> Cost:
    """Counts the tokens of an example as it stands in the prompt, those of one id once."""
    counted, words = dict[str, int](), wording or Wording.of(spec)

    def count(example: Worked) -> int:
        if example.id not in counted:
            counted[example.id] = len(tokenizer(words.showing([example]).block(spec), add_special_tokens=False)["input_ids"])
        return counted[example.id]

    return count


class BlendedPredictor:
    """An encoder variant with a head of neighbours. An answer that the schema refuses after the blend stays the classifier's.

    `fit` sets the weights for the examples in force; call it again when they have grown: nothing is trained, and the answers of the
    classifier to the validation rows are asked for once.
    """

    def __init__(self, name: str, inner: Predictor, spec: TaskSpec, retriever: Retriever) -> None:
        self.name, self._inner, self._schema, self.retriever = name, inner, spec.output_schema, retriever
        self._valid = output_validator(spec.output_schema)
        self._checked: tuple[tuple[str, ...], list[Prediction], Any] | None = None
        # The index is kept with the weights that were fitted on it: both change at once.
        self._in_force: tuple[Index, Mapping[str, Blend]] = (retriever.index, {})

    @property
    def blends(self) -> Mapping[str, Blend]:
        """The weights in force, by path."""
        return self._in_force[1]

    def fit(self, val: Sequence[Example]) -> Mapping[str, Blend]:
        """Fit the weights on validation rows; what was decided, by path."""
        rows = sorted(val, key=lambda row: row.item_id)
        texts = tuple(row.input_text for row in rows)
        if self._checked is None or self._checked[0] != texts:
            self._checked = texts, self._inner.predict(texts, distributions=True), self._vectors(texts)
        index, (_, said, vectors) = self.retriever.index, self._checked
        outputs, groups = [row.output for row in rows], [row.group or row.item_id for row in rows]
        self._in_force = index, fit_blends(index, label_fields(self._schema), texts, vectors, outputs, said, groups)
        return self.blends

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        index, blends = self._in_force
        used = [blend for blend in blends.values() if blend.weight]
        if not used or not inputs:
            return self._inner.predict(inputs, distributions=distributions)
        said = self._inner.predict(inputs, distributions=True)
        made = [self._blend(index, used, *one) for one in zip(said, inputs, self._vectors(inputs))]
        return made if distributions else [replace(one, choices={}) for one in made]

    def _blend(self, index: Index, blends: Sequence[Blend], one: Prediction, text: str, vector: Any) -> Prediction:
        near = index.nearest(vector, NEIGHBOURS, text)
        output, fields, choices = json.loads(one.text), dict(one.fields), dict(one.choices)
        for blend in blends:
            if blend.path in choices:
                choices[blend.path] = blended(index, blend, choices[blend.path], near)
                best = choices[blend.path][0]
                fields[blend.path] = best.probability
                if get_path(output, blend.path) != best.value:
                    if not isinstance(get_path(output, blend.path.rpartition(".")[0], output), dict):
                        return one  # the object that would hold the value is null
                    set_path(output, blend.path, best.value)
        if not self._valid.is_valid(output):
            return one
        return replace(one, text=dump_output(self._schema, output), confidence=math.prod(fields.values()), fields=fields, choices=choices)

    def _vectors(self, texts: Sequence[str]) -> Any:
        if self.retriever.embed is None:
            raise UserError("the retriever has no encoder", where=self.name, how="give it one")
        return self.retriever.embed(list(texts))
