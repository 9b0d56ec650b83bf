"""Texts longer than the encoder reads."""

import json
from dataclasses import replace

import pytest
import torch
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from test_encoder_training import FAST, FROZEN, load_predictor, task, train
from transformers import AutoModel

from pp_assets.task.examples import Example
from pp_assets.training import encoder as encoder_training
from pp_resources.models.encoder.tokens import collate
from pp_resources.models.encoder.windows import MAX_WINDOWS, encode_long, token_states, windows

SIZE = 18  # 16 tokens of text, 12 of them not in the next window


@pytest.fixture(scope="module")
def encoder(tiny):  # noqa: F811
    return AutoModel.from_pretrained(tiny).eval()


def forward_of(encoder, seen=None):
    def forward(batch):
        if seen is not None:
            seen.append(tuple(batch.ids.shape))
        return encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state

    return forward


def long_text(words):
    return " ".join(["red", "tea", "pot", "lid", "and"][i * i % 5] for i in range(words))


@pytest.mark.parametrize("words", [1, 15, 16, 17, 28, 29, 40, 100])
def test_every_token_is_kept_once_from_the_window_where_it_is_most_in_the_middle(tokenizer, words):  # noqa: F811
    (row,) = encode_long(tokenizer, [long_text(words)], SIZE)
    parts = windows(row, SIZE)
    assert (len(parts) == 1) == (words <= 16)
    ids, offsets, covered = [], [], [[] for _ in range(words)]
    for part in parts:
        first, last = part.kept
        assert len(part.row.ids) <= SIZE and part.at == len(ids)
        ids += part.row.ids[first:last]
        offsets += part.row.offsets[first:last]
        for at, offset in enumerate(part.row.offsets):
            if offset in row.offsets[1:-1]:
                covered[row.offsets.index(offset) - 1].append((min(at - 1, 16 - at), first <= at < last))
    assert (ids, offsets) == (row.ids, row.offsets)
    for places in covered:
        ((margin, _),) = [place for place in places if place[1]]
        assert margin >= max(m for m, _ in places) - 1


def test_the_limit_is_the_number_of_windows(tokenizer):  # noqa: F811
    most = 16 + (MAX_WINDOWS - 1) * 12
    fits, cut = encode_long(tokenizer, [long_text(most), long_text(most + 1)], SIZE)
    assert (fits.truncated, cut.truncated, len(fits.ids), len(cut.ids)) == (False, True, most + 2, most + 2)
    assert len(windows(fits, SIZE)) == MAX_WINDOWS


def test_states_are_those_of_each_token_in_its_own_window(tokenizer, encoder):  # noqa: F811
    texts = [long_text(40), "where is my order", long_text(17)]
    rows = encode_long(tokenizer, texts, SIZE)
    with torch.inference_mode():
        together = token_states(forward_of(encoder), rows, collate(rows, 0), 0, SIZE)
        assert together.shape == (3, 42, 32)
        for row, states in zip(rows, together):
            for part in windows(row, SIZE):
                alone = encoder(input_ids=torch.tensor([part.row.ids])).last_hidden_state[0]
                first, last = part.kept
                torch.testing.assert_close(states[part.at : part.at + last - first], alone[first:last], atol=1e-5, rtol=1e-5)


def test_texts_that_fit_are_read_in_one_pass(tokenizer, encoder):  # noqa: F811
    rows, seen = encode_long(tokenizer, [long_text(9), "tea"], SIZE), []
    with torch.inference_mode():
        token_states(forward_of(encoder, seen), rows, collate(rows, 0), 0, SIZE)
    assert seen == [(2, 11)]


def test_gradients_of_many_windows_are_those_of_one_pass(tokenizer, encoder):  # noqa: F811
    """More windows than are kept at once: the activations are computed again, and the gradient is the same."""
    rows = encode_long(tokenizer, [long_text(150 + i) for i in range(3)], SIZE)
    weight, seen = encoder.encoder.layer[0].output.dense.weight, []
    loss = token_states(forward_of(encoder, seen), rows, collate(rows, 0), 0, SIZE).pow(2).sum()
    assert len(seen) > 2 and max(n for n, _ in seen) <= MAX_WINDOWS
    (slope,) = torch.autograd.grad(loss, weight)
    parts = [part for row in rows for part in windows(row, SIZE)]
    batch = collate([part.row for part in parts], 0)
    states = encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    whole = sum(found[slice(*part.kept)].pow(2).sum() for found, part in zip(states, parts))
    (other,) = torch.autograd.grad(whole, weight)
    torch.testing.assert_close(slope, other, atol=1e-3, rtol=1e-4)


def test_what_stands_beyond_the_first_window_is_learnt_and_found(tiny, tmp_path):  # noqa: F811
    """Windows of 24 tokens; the order stands behind more words than that."""
    output = {
        "type": "object",
        "required": ["order", "ask"],
        "properties": {"order": {"type": ["string", "null"]}, "ask": {"type": "boolean"}},
    }

    def row(i):
        order, ask = (f"a{i % 50 + 10}" if i % 4 else None), i % 2 == 0
        tail = (f"order {order} " if order else "") + ("please" if ask else "refund")
        return Example(f"{i:x}", f"{long_text(22 + i % 12)} {tail}", {"order": order, "ask": ask})

    recipe = replace(FAST, params=replace(FAST.params, epochs=5, head_lr=1e-2, max_tokens=24))
    train(tiny, tmp_path / "out", recipe=recipe, rows=[row(i) for i in range(56)], val=[row(i) for i in range(56, 64)], output=output)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["labels"]["rows_cut"] == 0
    unseen = [row(i) for i in range(96, 116)]
    answers = load_predictor(tmp_path / "out", task(tiny, output), threads=1).predict([r.input_text for r in unseen])
    assert {a.finish_reason for a in answers} == {"stop"}
    assert sum(json.loads(a.text)["order"] == r.output["order"] for a, r in zip(answers, unseen)) >= 18


def test_a_frozen_encoder_whose_states_do_not_fit_into_memory_learns_the_same(tiny, tmp_path, monkeypatch):  # noqa: F811
    losses = []
    for name, limit in (("kept", encoder_training.CACHED_BYTES), ("again", 0)):
        monkeypatch.setattr(encoder_training, "CACHED_BYTES", limit)
        train(tiny, tmp_path / name, recipe=FROZEN)
        losses.append([entry["train_loss"] for entry in json.loads((tmp_path / name / "training.json").read_text())["history"]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_long_rows_use_the_fused_attention_and_learn_the_same(tiny, tmp_path, monkeypatch):  # noqa: F811
    rows, ran = [Example(f"{i:x}", f"{long_text(i % 9)} {'please' if i % 2 else 'refund'}", {"ask": bool(i % 2)}) for i in range(32)], {}
    output = {"type": "object", "required": ["ask"], "properties": {"ask": {"type": "boolean"}}}
    monkeypatch.setattr("pp_assets.training.run.has_bf16", lambda _device: False)  # in bf16 two kernels differ in the third digit
    for name, least in (("eager", 10**6), ("sdpa", 0)):
        monkeypatch.setattr(encoder_training, "FUSED_FROM", least)
        run = encoder_training.EncoderRun(task(tiny, output), FAST, rows, rows[:8], 1, 1)
        loss, _ = run.loss(range(16))
        loss.backward()
        slopes = [w.grad for w in run.weights.values() if w.grad is not None]
        ran[name] = (run.encoder.config._attn_implementation, loss.detach(), torch.cat([slope.flatten() for slope in slopes]))
    assert {name: kind for name, (kind, _, _) in ran.items()} == {"eager": "eager", "sdpa": "sdpa"}
    for eager, fused in zip(ran["eager"][1:], ran["sdpa"][1:]):
        torch.testing.assert_close(fused, eager, atol=1e-5, rtol=1e-3)


def test_an_encoder_whose_heads_choose_nothing_is_not_asked_before_training(tiny, monkeypatch):  # noqa: F811
    asked = []
    monkeypatch.setattr(encoder_training.EncoderRun, "_start_states", lambda run, rows, *_: asked.append(len(rows)))
    output = {"type": "object", "required": ["order"], "properties": {"order": {"type": ["string", "null"]}}}
    rows = [Example(f"{i:x}", f"order a{i}", {"order": f"a{i}"}) for i in range(8)]
    encoder_training.EncoderRun(task(tiny, output), FAST, rows, rows, 1, 1)
    assert not asked
