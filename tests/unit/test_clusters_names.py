"""Names of topics, whether they tell their members, what a provider is asked, the table, trends and scores."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from blobs import blobs

from pp_assets.data.clusters.fit import fit
from pp_assets.data.clusters.model import OUTLIER
from pp_assets.data.clusters.naming import held_back, name_quality, name_topics, topic_terms
from pp_assets.data.clusters.tables import scores_by_topic, seconds, time_buckets, topic_table
from pp_assets.data.clusters.titles import placed_by_titles, sample
from pp_assets.evaluation.stats.intervals import mid_p

WORDS = ["refund charge", "parcel courier", "password login"]


@pytest.fixture(scope="module")
def scene():
    """Three topics with texts that name them."""
    vectors, ids, labels = blobs([50, 40, 30])
    return vectors, ids, [f"please {WORDS[g]} number {i}" for i, g in enumerate(labels.tolist())], fit(vectors, ids)


class Scripted:
    """Answers from a function of the last message, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def ask(self, messages, *, schema=None, temperature=0.0, max_tokens=None):
        self.asked.append((messages[-1]["content"], schema, temperature))
        return SimpleNamespace(text=self.answer(messages[-1]["content"]))


def test_topics_are_named_by_the_words_that_set_them_apart(scene):
    _, _, texts, found = scene
    named = name_topics(found, texts)
    for topic, words in zip(named.ids.tolist(), WORDS):
        assert set(words.split()) <= set(named.names[topic]["terms"]), named.names
    assert named.name(OUTLIER) == "outliers" and name_topics(named, ["x"] * len(texts)).names == named.names, "a name stays"


def test_texts_without_words_still_make_a_topic():
    assert topic_terms(["12", "!!"], np.array([0, 0])) == {0: []}


def test_held_back_members_leave_no_word_in_a_name(scene):
    _, _, texts, found = scene
    held = held_back(found)
    assert held.sum() == 30
    marked = [f"{text} zebra" if h else text for text, h in zip(texts, held)]
    assert name_topics(found, marked).names == name_topics(found, texts).names


def test_names_that_tell_place_every_member_and_exchanged_names_none(scene):
    vectors, _, texts, found = scene
    named = name_topics(found, texts)
    by_name = {named.name(int(t)): found.centroids[i] for i, t in enumerate(found.ids)}
    told = name_quality(named, vectors, lambda names: np.array([by_name[n] for n in names]))
    assert (told["asked"], told["placed"], told["accuracy"]) == (30, 30, 1.0) and told["low"] > 0 and told["high"] == 1.0
    turned = name_quality(named, vectors, lambda names: np.roll(found.centroids, 1, axis=0))
    assert turned["accuracy"] == 0.0 and turned["topics"][0] == (0, 10)


def test_small_topics_hold_nobody_back_and_the_quality_is_none():
    vectors, ids, _ = blobs([10, 10])
    told = name_quality(fit(vectors, ids), vectors, lambda names: np.ones((len(names), 32)))
    assert told["accuracy"] == 1.0 or told["asked"] == 0
    few = fit(vectors[:6], ids[:6])
    assert name_quality(few, vectors[:6], lambda names: np.ones((1, 32)))["accuracy"] is None


def test_a_provider_gives_titles_from_central_borderline_and_contrast_members(scene):
    vectors, _, texts, found = scene
    provider = Scripted(lambda said: json.dumps({"title": ' "Late parcels." '}))
    named = name_topics(found, texts, vectors=vectors, provider=provider)
    assert all(n["name"] == "Late parcels" and n["titled"] and n["terms"] for n in named.names.values())
    content, schema, temperature = provider.asked[0]
    assert content.count("\n- ") == 18 and schema["required"] == ["title"] and temperature == 0
    held = {texts[i] for i in np.flatnonzero(held_back(found))}
    assert not any(line[2:] in held for asked, _, _ in provider.asked for line in asked.splitlines())
    own, near = sample(found, vectors, 0)
    assert set(found.labels[own]) == {0} and 0 not in set(found.labels[near]) and len(own) == 12


@pytest.mark.parametrize("said", ["no JSON", "[]", '{"title": 3}', '{"title": "  "}'])
def test_an_answer_that_is_no_title_leaves_the_words(scene, said):
    vectors, _, texts, found = scene
    named = name_topics(found, texts, vectors=vectors, provider=Scripted(lambda _: said))
    assert named.names == name_topics(found, texts).names


def test_a_provider_places_members_by_names_alone(scene):
    _, _, texts, found = scene
    named = name_topics(found, texts)
    right = Scripted(lambda said: json.dumps({"group": next(i for i, w in enumerate(WORDS) if w in said.split("Text:")[1])}))
    told = placed_by_titles(right, named, texts)
    assert told["accuracy"] == 1.0 and told["asked"] == 30
    assert placed_by_titles(Scripted(lambda _: "none"), named, texts, asks=5)["accuracy"] == 0.0


def test_the_table_shows_sizes_shares_examples_and_the_farthest_outliers(scene):
    vectors, _, texts, found = scene
    table = topic_table(name_topics(found, texts), texts, vectors, quality={"topics": {0: (7, 10)}})
    assert sum(entry["size"] for entry in table) == len(texts) and sum(entry["share"] for entry in table) == pytest.approx(1, abs=1e-3)
    first = table[0]
    assert first["placed"] == [7, 10] and len(first["examples"]) == len(first["borderline"]) == 3
    best = found.item_ids.index(first["examples"][0]["item_id"])
    assert found.similarity[best] == found.similarity[found.labels == first["topic"]].max()
    lost = replace(found, labels=np.where(np.arange(len(texts)) < 3, OUTLIER, found.labels))
    assert topic_table(lost, texts, vectors)[-1]["topic"] == OUTLIER


def test_a_trend_counts_each_row_once_in_the_calendar_unit_that_fits(scene):
    vectors, _, texts, found = scene
    times = [seconds(f"2025-{1 + i % 6:02d}-10T12:00:00") for i in range(len(texts))]
    times[0] = None
    table = topic_table(found, texts, vectors, times=times)
    assert [part["from"] for part in table[0]["trend"]] == [f"2025-{month:02d}-01" for month in range(1, 7)]
    assert sum(part["rows"] for entry in table for part in entry["trend"]) == len(texts) - 1
    assert time_buckets([1.0, None, 1.0]) is None
    assert time_buckets([float(i * 86400) for i in range(5)])[1][0] == "1970-01-01"
    assert seconds("no time") is None and seconds(True) is None and seconds(3) == 3.0


def test_scores_have_the_interval_of_their_items_and_groups():
    topics, hits = np.array([0] * 20 + [1] * 20), np.array([1] * 15 + [0] * 5 + [1] * 20)
    alone = scores_by_topic(topics, hits, [str(i) for i in range(40)])
    assert (alone[0]["n"], alone[0]["value"]) == (20, 0.75) and (alone[0]["low"], alone[0]["high"]) == pytest.approx(mid_p(15, 20))
    together = scores_by_topic(topics, hits, [str(i // 5) for i in range(40)])
    assert together[0]["high"] - together[0]["low"] > alone[0]["high"] - alone[0]["low"]
