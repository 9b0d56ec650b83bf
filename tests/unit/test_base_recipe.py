"""The recipe of the shipped base: what it reads, what it keeps for measuring, what it computes."""

import gzip
import json
import sys
from dataclasses import replace
from random import Random

import pytest
import torch

from bench.make_base import __main__ as make_base
from bench.make_base.dialogues import FILE, HELD_OUT, load_dialogues
from bench.make_base.mix import mixture, opened
from bench.make_base.texts import FILES, UNSEEN, load_texts
from bench.make_base.train import SECOND, batches, states
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import load_model, load_tokenizer

NOUNS = ["harbour", "lantern", "orchard", "saddle", "kennel", "anvil", "pulpit", "gravel", "ribbon", "turnip", "badge", "recipe"]
TURNS = {  # dialogue: (instruction's fields, input, what it says)
    "1_00001": (["city", "date"], "A table in Leeds please.", {"city": "Leeds"}),
    "1_00002": (["artist", "album"], "Play Lumen by Vora.", {"artist": "Vora", "album": "Lumen"}),
    "2_00001": (["car_name", "pickup_city"], "I take the Corsa in Turin.", {"car_name": "Corsa", "pickup_city": "Turin"}),
    "3_00001": (["property_name", "rent"], "Elm Court costs $900 a month.", {"property_name": "Elm Court", "rent": "$900"}),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    text = " ".join(f"We saw the {noun} of the town. My {noun} was old and quite heavy." for noun in NOUNS)
    good = [{"text": text, "meta": {"source": "18F blog"}}] * 41
    for name in FILES:
        _write(folder / name, [*good, {"text": "The zeppelin was never meant to be read.", "meta": {"source": "unknown terms"}}] * 41)
    rows = []
    for dialogue, (fields, said, values) in TURNS.items():
        answer = json.dumps({key: values.get(key) for key in fields})
        meta = {"id": f"{dialogue}-3s", "kind": "span"}
        rows.append({"instruction": f"Extract. Fields: {', '.join(fields)}.", "input": said, "output": answer, "meta": meta})
    # The same dialogue about something else: it must not be trained on either.
    rows.append({"instruction": "Fields: city.", "input": "I live in Turin.", "output": '{"city": "Turin"}', "meta": rows[2]["meta"]})
    _write(folder / FILE, rows)
    return folder


def _write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def texts(corpus):
    return load_texts(corpus)


def test_nouns_and_sentences_are_of_named_sources_and_hold_no_word_that_is_kept_unseen(texts):
    assert set(texts.nouns) | set(texts.held_nouns) == set(NOUNS) - {"badge", "recipe"}
    assert texts.held_nouns
    assert not set(texts.nouns) & set(texts.held_nouns)
    assert texts.sentences
    assert not [s for s in texts.sentences if UNSEEN.search(s) or "zeppelin" in s]


def test_no_turn_of_a_dialogue_with_a_held_out_service_is_trained_on(corpus):
    dialogues = load_dialogues(corpus)
    assert {text for _, text, _ in dialogues.train} == {"A table in Leeds please.", "Play Lumen by Vora."}
    ((dialogue, text, answer),) = dialogues.held["homes"]
    assert (dialogue, text) == ("3_00001", "Elm Court costs $900 a month.")
    assert answer == dict.fromkeys(HELD_OUT["homes"][1]) | {"property_name": "Elm Court", "rent": "$900"}


def test_a_training_row_is_a_function_of_its_generator_and_holds_no_unseen_kind(corpus, texts):
    draw = mixture(texts, load_dialogues(corpus))
    rows = [draw(Random(seed), 0.1) for seed in range(600)]
    assert rows == [draw(Random(seed), 0.1) for seed in range(600)]
    for row in rows:
        assert not UNSEEN.search(" ".join(row))
        assert row[3] == json.dumps(json.loads(row[3]), ensure_ascii=False, separators=(",", ":"))
        assert row[2].endswith("\n")
    real = {"A table in Leeds please.", "Play Lumen by Vora."}
    assert 100 < sum(row[1] in real for row in rows) < 200  # a quarter of them


def test_a_string_of_an_open_kind_stands_in_the_input_behind_its_noun_or_before_it(texts):
    strings = found = 0
    for seed in range(400):
        _, text, _, answer = opened(Random(seed), texts, texts.nouns, share=1.0)
        for value in json.loads(answer).values():
            if isinstance(value, str):
                strings += 1
                found += value.lower() in text.lower()
    assert strings > 300
    assert found / strings > 0.8  # the others are labels, and values with a typo


def test_the_states_of_chosen_positions_are_those_of_the_whole_model():
    model, ids = load_model(find_base(TINY_BASE)), torch.randint(300, 4000, (3, 40), generator=torch.Generator().manual_seed(0))
    where = torch.zeros(3, 40, dtype=torch.bool)
    where[0, 3] = where[2, 10:39] = True
    with torch.inference_mode():
        torch.testing.assert_close(states(model, ids, where), model.model(ids).last_hidden_state[where])


def test_a_batch_keeps_its_bounds_and_weighs_every_token_of_an_answer(texts, corpus):
    tokenizer, draw = load_tokenizer(find_base(TINY_BASE)), mixture(texts, load_dialogues(corpus))
    plan = replace(SECOND, batch=8, batch_tokens=1500, chunk=2)
    made = list(batches(plan, tokenizer, draw, 0, 0.5))
    for ids, weights in made:
        assert ids.shape == weights.shape
        assert len(ids) <= 8
        assert ids.numel() <= 1500 + 16 * len(ids)  # rounded up to a multiple of 16
        for row, weight in zip(ids, weights, strict=True):
            *_, last = weight.nonzero()[:, 0].tolist()
            assert row[last] == tokenizer.eos_token_id
            assert weight[last] == 1.0
    again = list(batches(plan, tokenizer, draw, 0, 0.5))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(made, again, strict=True))


@pytest.mark.parametrize("given", [[], ["--corpus", "{empty}"]])
def test_without_a_corpus_the_command_says_so_and_exits_with_2(given, tmp_path, monkeypatch, capsys):
    words = [word.format(empty=tmp_path) for word in given]
    monkeypatch.setattr(sys, "argv", ["make_base", "--out", str(tmp_path / "out"), *words])
    with pytest.raises(SystemExit) as stopped:
        make_base.main()
    assert stopped.value.code == 2
    assert ("no file text_books.jsonl.gz" if given else "required: --corpus") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
