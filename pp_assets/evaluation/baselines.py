"""Baselines that need no language model: what a candidate must beat to be worth anything.

Enum, boolean and array-of-enum fields are classified by the method. Other fields take what the most similar training example has,
where that stands in the input too, else null (or nothing). To say null wherever null is usual would be no floor for extraction: on
snips that finds no slot at all, while copying from the neighbour has 15 % of whole objects right.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pp_assets.evaluation.field_guess import Guess, fit, vote
from pp_resources.errors import UserError
from pp_resources.json_schema import Field, canonical_output, dump_output, get_path, leaf_fields, output_validator, set_path
from pp_resources.models.interface import Prediction

DESCRIPTIONS = {
    "majority": "The most frequent value of each field in the training data",
    "tfidf-logreg": "Logistic regression on TF-IDF of words and word pairs, one classifier a field",
    "knn": "The five nearest training examples by sentence embedding vote, weighted by similarity",
    "embedding-logreg": "Logistic regression on sentence embeddings, one classifier a field, regularised by cross-validation",
    "contrastive-logreg": "The sentence encoder tuned until rows with equal choices lie close (as SetFit does), then logistic regression",
}
Embed = Callable[[list[str]], np.ndarray]
Contrast = Callable[[list[str], np.ndarray], Embed]
"""From texts and their classes (texts, fields), whole numbers, to an embedding in which equal ones lie close."""
NEIGHBOURS = 5
ABSENT = ""  # a key that is not there; values are JSON text, which is never empty


class _Item(Protocol):
    @property
    def input_text(self) -> str: ...


class _Example(_Item, Protocol):
    @property
    def output(self) -> Mapping[str, Any]: ...

    @property
    def group(self) -> str: ...


def classical_baselines(
    spec: Any, train: Sequence[_Example], test: Sequence[_Item], embed: Embed, contrast: Contrast | None = None
) -> dict[str, list[Prediction]]:
    """Predictions of the systems in DESCRIPTIONS for the texts of `test`, trained on `train`, by name.

    `embed` gives unit vectors (n, width). "embedding-logreg" needs a field to classify, "contrastive-logreg" also `contrast`. Of `test`
    only `input_text` is read. Latency is each method's time on the test texts.
    """
    if not train:
        raise UserError("no training examples", where="baselines", how="a baseline needs at least one")
    schema = spec["io_schema"]["output"] if isinstance(spec, Mapping) else spec.output_schema
    maker = _Maker(schema, train, [item.input_text for item in test])
    found = {"majority": maker.majority(), "tfidf-logreg": maker.tfidf(), "knn": maker.knn(embed)}
    if maker.classified:
        found["embedding-logreg"] = maker.regression(embed, embed)
        if contrast is not None:
            found["contrastive-logreg"] = maker.regression(contrast(maker.train_texts, maker.classes()), embed)
    return found


class _Maker:
    def __init__(self, schema: Mapping[str, Any], train: Sequence[_Example], texts: list[str]) -> None:
        self.schema, self.texts, self.train_texts = schema, texts, [e.input_text for e in train]
        self.groups = [e.group or str(i) for i, e in enumerate(train)]
        self.leaves = leaf_fields(schema)
        self.classified = [leaf for leaf in self.leaves if leaf.kind in ("enum", "boolean", "array_enum")]
        outputs = [canonical_output(schema, e.output) for e in train]
        self.columns = {leaf.path: [_value(output, leaf.path) for output in outputs] for leaf in self.leaves}
        self.usual = {path: _most_frequent(column) for path, column in self.columns.items()}
        self.usual_object = json.loads(_most_frequent([_dump(output) for output in outputs]))
        self.valid = output_validator(schema).is_valid

    def majority(self) -> list[Prediction]:
        start = time.perf_counter()
        guesses = {}
        for leaf in self.classified:
            share = Counter(self.columns[leaf.path])[self.usual[leaf.path]] / len(self.train_texts)
            guesses[leaf.path] = Guess([self.usual[leaf.path]] * len(self.texts), np.full(len(self.texts), share))
        return self._assemble(guesses, None, start)

    def tfidf(self) -> list[Prediction]:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float64)
        try:
            known = vectorizer.fit_transform(self.train_texts)
        except ValueError:  # no text holds a word
            return self.majority()
        models = {leaf.path: fit(leaf, self.columns[leaf.path], known) for leaf in self.classified}
        start = time.perf_counter()
        asked = vectorizer.transform(self.texts)
        nearest = np.zeros(len(self.texts), dtype=int)
        for i in range(0, len(nearest), 512):
            nearest[i : i + 512] = np.asarray((asked[i : i + 512] @ known.T).argmax(axis=1)).ravel()
        return self._assemble({path: model(asked) for path, model in models.items()}, nearest, start)

    def knn(self, embed: Embed) -> list[Prediction]:
        known = embed(self.train_texts)
        start = time.perf_counter()
        likeness = embed(self.texts) @ known.T if self.texts else np.zeros((0, len(known)))
        k = min(NEIGHBOURS, len(self.train_texts))
        # Sorted by (likeness, position), so that equal neighbours are taken in the order of the training data.
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
        weights = np.maximum(np.take_along_axis(likeness, near, axis=1), 1e-6)
        guesses = {leaf.path: vote(leaf, self.columns[leaf.path], near, weights) for leaf in self.classified}
        return self._assemble(guesses, near[:, 0], start)

    def regression(self, features: Embed, embed: Embed) -> list[Prediction]:
        """Choices from `features`; the neighbour that other fields are copied from is found by `embed`."""
        known = features(self.train_texts)
        models = {leaf.path: fit(leaf, self.columns[leaf.path], known, self.groups) for leaf in self.classified}
        start = time.perf_counter()
        asked = features(self.texts) if self.texts else np.zeros((0, known.shape[1]))
        nearest = np.zeros(len(self.texts), dtype=int)
        if self.texts and len(self.classified) < len(self.leaves):
            nearest = (embed(self.texts) @ embed(self.train_texts).T).argmax(axis=1)
        return self._assemble({path: model(asked) for path, model in models.items()}, nearest, start)

    def classes(self) -> np.ndarray:
        """The number of each training row's value (rows, classified fields)."""
        return np.stack([np.unique(self.columns[leaf.path], return_inverse=True)[1] for leaf in self.classified], axis=1)

    def _assemble(self, guesses: Mapping[str, Guess], nearest: np.ndarray | None, start: float) -> list[Prediction]:
        made = []
        for i, text in enumerate(self.texts):
            output: dict[str, Any] = {}
            for leaf in self.leaves:
                guess = guesses.get(leaf.path)
                value = guess.values[i] if guess else self._fill(leaf, text, None if nearest is None else int(nearest[i]))
                if value != ABSENT:
                    set_path(output, leaf.path, json.loads(value))
            if not self.valid(output):
                output = self._repaired(output)
            sure = {path: float(guess.sure[i]) for path, guess in guesses.items()}
            made.append((dump_output(self.schema, output), sure))
        each = (time.perf_counter() - start) * 1000 / max(1, len(made))
        return [Prediction(said, float(np.prod(list(sure.values()))) if sure else None, sure, latency_ms=each) for said, sure in made]

    def _fill(self, leaf: Field, text: str, neighbour: int | None) -> str:
        usual = self.usual[leaf.path]
        value = usual if neighbour is None else self.columns[leaf.path][neighbour]
        if leaf.kind in ("const", "null") or value in ("null", "[]", ABSENT):
            return value
        found = json.loads(value)
        if isinstance(found, list):
            found = [item for item in found if _stands_in(item, text)]
            return _dump(found) if len(found) >= leaf.schema.get("minItems", 0) else usual
        if _stands_in(found, text):
            return value
        return "null" if leaf.nullable else usual

    def _repaired(self, output: dict[str, Any]) -> dict[str, Any]:
        """An output that the schema refuses as a whole: give it the objects, empty or null, of the usual one, else take that one."""
        for name, value in self.usual_object.items():
            if value is None and isinstance(output.get(name), dict):
                output = {**output, name: None}
            elif isinstance(value, dict) and name not in output:
                output = {**output, name: {}}
        return output if self.valid(output) else self.usual_object


def _most_frequent(column: list[str]) -> str:
    counts = Counter(column)
    return max(counts, key=lambda value: (counts[value], value))


def _stands_in(value: Any, text: str) -> bool:
    return (value if isinstance(value, str) else _dump(value)) in text


def _value(output: Mapping[str, Any], path: str) -> str:
    nothing = object()
    found = get_path(output, path, nothing)
    return ABSENT if found is nothing else _dump(found)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
