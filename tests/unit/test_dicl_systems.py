"""Chosen examples before a language model, a remote one and an encoder: what each is shown, and that a blend is never for the worse."""

import json
from pathlib import Path

import numpy as np
import pytest
from causal_tiny import OUTPUT, spec_on, write_tiny_base

from pp_assets.prompts.dicl.head import Blend, blended, fit_blends, neighbour_chances
from pp_assets.prompts.dicl.index import Index, Worked
from pp_assets.prompts.dicl.retriever import Choosing, Retriever
from pp_assets.prompts.dicl.systems import BlendedPredictor, ContextPredictor, shot_tokens
from pp_assets.task.causal_prompt import prompt_of
from pp_assets.task.examples import Example
from pp_assets.task.prompt import render_examples
from pp_resources.json_schema import output_validator
from pp_resources.models.causal import CausalPredictor
from pp_resources.models.interface import Choice, Prediction, ranked

TOPICS = ("bill", "parcel", "other")


def embed(texts) -> np.ndarray:
    """Topics as directions, with the letters of the text as a little noise."""
    rows = []
    for text in texts:
        noise = np.random.default_rng(list(text.encode())).normal(size=8) * 0.15
        noise[:3] += [text.lower().count(topic) for topic in TOPICS]
        rows.append(noise / np.linalg.norm(noise))
    return np.array(rows, np.float32)


def output(topic: str) -> dict:
    return {"order": None, "topic": topic, "urgent": False}


def index_of(count: int) -> Index:
    found = [Worked(f"e{i:03}", f"about my {TOPICS[i % 3]}, the case {i}", output(TOPICS[i % 3]), TOPICS[i % 3]) for i in range(count)]
    return Index.of(found, embed([one.input_text for one in found]))


VAL = [Example(f"v{i:02}", f"again a {TOPICS[i % 3]} and a story of {i}", output(TOPICS[i % 3])) for i in range(45)]


class Classifier:
    """A classifier that is right with a chance that is given, and says so honestly."""

    name = "classifier"

    def __init__(self, chance: float) -> None:
        self.chance, self.asked = chance, 0

    def predict(self, inputs, *, distributions=False):
        self.asked += len(inputs)
        made = []
        for text in inputs:
            right = next(topic for topic in TOPICS if topic in text)
            says = right if np.random.default_rng(list(text.encode())).random() < self.chance else "other"
            rest = (1 - self.chance) / 2
            choices = {"topic": ranked(TOPICS, [self.chance if topic == says else rest for topic in TOPICS])} if distributions else {}
            fields = {"order": 1.0, "topic": self.chance, "urgent": 0.9}
            made.append(Prediction(json.dumps(output(says)), 0.9 * self.chance, fields, choices=choices))
        return made


def test_neighbours_count_by_how_near_they_are() -> None:
    index = index_of(3)
    near = np.array([0, 1, 2]), np.float32([0.9, 0.9, 0.5])
    chances = neighbour_chances(index, "topic", TOPICS, near, 10.0)
    assert chances.sum() == pytest.approx(1) and chances[0] == chances[1] > 20 * chances[2] > 0
    assert neighbour_chances(index, "topic", ("x", "y"), near, 10.0).tolist() == [0.5, 0.5]
    assert neighbour_chances(index, "topic", TOPICS, (near[0][:0], near[1][:0]), 10.0) == pytest.approx([1 / 3] * 3)


def test_a_blend_that_helps_is_used_and_one_that_does_not_is_refused() -> None:
    retriever = Retriever(embed, index=index_of(60))
    weak, strong = (BlendedPredictor("dicl", Classifier(chance), OUTPUT_SPEC, retriever) for chance in (0.6, 0.999))
    found = weak.fit(VAL)["topic"]
    assert found.weight > 0 and found.gain > 0 and found.low > 0 and found.rows == 45
    refused = strong.fit(VAL)["topic"]
    assert (refused.weight, refused.why) == (0.0, "not shown to be better than the classifier alone")
    assert strong.predict(["a bill"])[0] == Classifier(0.999).predict(["a bill"])[0]


def test_a_blended_answer_is_right_where_the_classifier_was_not_and_keeps_the_schema() -> None:
    model = BlendedPredictor("dicl", Classifier(0.6), OUTPUT_SPEC, Retriever(embed, index=index_of(60)))
    texts = [f"a new {TOPICS[i % 3]} and nothing else {i}" for i in range(30)]
    before = [json.loads(one.text)["topic"] for one in model.predict(texts)]
    model.fit(VAL)
    answers = model.predict(texts, distributions=True)
    after = [json.loads(one.text)["topic"] for one in answers]
    right = [TOPICS[i % 3] for i in range(30)]
    assert sum(map(str.__eq__, after, right)) == 30 > sum(map(str.__eq__, before, right))
    for one in answers:
        assert output_validator(OUTPUT).is_valid(json.loads(one.text))
        assert sum(choice.probability for choice in one.choices["topic"]) == pytest.approx(1)
        assert one.fields["topic"] == one.choices["topic"][0].probability
        assert one.confidence == pytest.approx(one.fields["topic"] * 0.9)
    assert [one.text for one in model.predict(texts)] == [one.text for one in answers] and not model.predict(texts)[0].choices


def test_fitting_is_the_same_in_any_order_and_asks_the_classifier_once() -> None:
    classifier = Classifier(0.6)
    retriever = Retriever(embed, index=index_of(6))
    model = BlendedPredictor("dicl", classifier, OUTPUT_SPEC, retriever)
    first = model.fit(VAL)
    assert model.fit(VAL[::-1]) == first and classifier.asked == 45
    retriever.swap(index_of(60))
    assert model.fit(VAL) != first and classifier.asked == 45


def test_too_few_rows_decide_nothing_and_new_examples_wait_for_their_weights() -> None:
    retriever = Retriever(embed, index=index_of(60))
    model = BlendedPredictor("dicl", Classifier(0.6), OUTPUT_SPEC, retriever)
    assert model.fit(VAL[:10])["topic"] == Blend("topic", 0.0, 5.0, 10, None, None, "10 validation rows are too few to tell")
    model.fit(VAL)
    said = model.predict(["about a parcel"])
    retriever.swap(Index.of([], np.zeros((0, 8), np.float32)))
    assert model.predict(["about a parcel"]) == said


def test_a_field_without_choices_is_left_alone() -> None:
    assert fit_blends(index_of(9), ["urgent"], ["x"], embed(["x"]), [output("bill")], Classifier(0.5).predict(["bill"]), ["g"]) == {}
    listed = [Choice("bill", 0.7), Choice("parcel", 0.3)]
    assert blended(index_of(9), Blend("topic", 0.0, 5.0, 9, None, None, ""), listed, (np.array([0]), np.float32([1]))) == listed


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def test_a_language_model_sees_the_examples_of_its_input(base: Path) -> None:
    spec = spec_on(base)
    inner = CausalPredictor.from_base("tiny", base, spec.output_schema, prompt_of(spec), max_new_tokens=24)
    retriever = Retriever(embed, index_of(30))
    model = ContextPredictor("dicl", spec, inner, retriever, Choosing(k=2))
    texts, count = ["my bill please", "no parcel yet"], shot_tokens(spec, inner.tokenizer)
    said = model.predict(texts)
    for text, one in zip(texts, said):
        shots = retriever.select(text, model.choosing, cost=count)
        assert shots and shots[-1].label in text
        assert one.text == inner.behind(prompt_of(spec, shots)).predict([text])[0].text
    room = 512 // 2 - len(inner.encoder.prefix_ids) - 24
    assert model.choosing.tokens == room and model.predict([]) == []
    block = len(inner.tokenizer(render_examples(spec.output_schema, [retriever.index.examples[0]]))["input_ids"])
    assert count(retriever.index.examples[0]) == block
    # What counts are the tokens of this model, not a guess: one token less, and a second example is not shown.
    near = retriever.select(texts[0], Choosing(k=2, pool=2), cost=count)
    both = sum(count(one) for one in retriever.index.examples if one.id in {shot.id for shot in near})
    for tokens, shown in ((both, 2), (both - 1, 1)):
        tight = ContextPredictor("dicl", spec, inner, retriever, Choosing(k=2, pool=2, tokens=tokens))
        shots = retriever.select(texts[0], tight.choosing, cost=count)
        assert len(shots) == shown and tight.predict(texts[:1])[0].text == inner.behind(prompt_of(spec, shots)).predict(texts[:1])[0].text


OUTPUT_SPEC = spec_on(Path("base"))
