"""Where heads begin, and the loss that holds classes together."""

import math
from random import Random

import pytest
import torch

from pp_assets.training.start import start_heads
from pp_assets.training.supcon import in_pairs, supcon_loss
from pp_resources.models.encoder.compile import compile_schema
from pp_resources.models.encoder.model import SCALE, HeadStack

OUTPUT = {
    "type": "object",
    "required": ["topic", "signs", "name", "words", "done"],
    "properties": {
        "topic": {"enum": ["a", "b", "c", "never"]},
        "signs": {"type": "array", "items": {"enum": ["x", "y", "z"]}},
        "name": {"type": ["string", "null"]},
        "words": {"type": "array", "items": {"type": "string"}},
        "done": {"type": "boolean"},
    },
}
WIDTH = 8


def started(few=()) -> tuple[HeadStack, torch.Tensor, list[list]]:
    torch.manual_seed(0)
    heads = HeadStack(compile_schema(OUTPUT), WIDTH, 4, 0.0)
    order = [head.path for head in heads.heads]
    means = torch.nn.functional.normalize(torch.randn(60, WIDTH) * 0.2 + torch.eye(WIDTH)[torch.arange(60) % 3], dim=-1)
    targets = []
    for i in range(60):
        row = {
            "topic": i % 3 if i != 7 else None,
            "signs": [float(i % 3 == 0), 0.0, 1.0],
            "name": [] if i % 4 else [(0, 1)],
            "words": [0, 1, 2, 0, 0, -100],
            "done": i % 3 == 2,
        }
        targets.append([int(row[path]) if isinstance(row[path], bool) else row[path] for path in order])
    start_heads(heads, means, targets, few)
    return heads, means, targets


def layer_of(heads: HeadStack, path: str):
    return next(layer for head, layer in zip(heads.heads, heads.layers) if head.path == path)


def test_choices_and_flags_begin_as_classifiers_of_the_mean_state():
    heads, means, _ = started()
    pooled, classes = means * SCALE, torch.arange(60) % 3
    assert (layer_of(heads, "topic")(pooled).argmax(-1) == classes).float().mean() > 0.9
    done = layer_of(heads, "done")(pooled).argmax(-1)
    assert ((done == done[2]) == (classes == 2)).float().mean() > 0.9
    signs = layer_of(heads, "signs")(pooled)
    assert ((signs[:, 0] > 0) == (classes == 0)).float().mean() > 0.9
    # What never or always is, is so whatever the text.
    assert (signs[:, 1] < -3).all() and (signs[:, 2] > 3).all()


def test_a_choice_with_few_rows_a_class_begins_more_certain():
    (plain, means, _), (certain, _, _) = started(), started(range(1))
    sure = [layer_of(heads, "topic")(means * SCALE).softmax(-1).max(-1).values.mean() for heads in (plain, certain)]
    assert sure[1] > sure[0] + 0.1
    assert torch.equal(layer_of(plain, "done").weight, layer_of(certain, "done").weight)


def test_a_choice_without_a_row_begins_below_the_others():
    heads, means, _ = started()
    logits = layer_of(heads, "topic")(means * SCALE)
    assert (logits.argmax(-1) != 3).all() and logits[:, 3].std() < 1e-6


def test_spans_and_tags_begin_at_how_often_they_occur():
    heads, _, _ = started()
    assert layer_of(heads, "name").null.bias.item() == pytest.approx(math.log(45.5 / 15.5))
    words = layer_of(heads, "words")
    assert words.bias[:3].softmax(-1).tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.01)
    assert not words.weight[:3].any()


def test_contrast_is_the_mean_log_share_of_the_like():
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    classes = torch.tensor([0, 1, 0, 0, -1, -1])
    by_hand = []
    for i in (0, 2, 3):
        others = [j for j in range(6) if j != i]
        total = torch.logsumexp(torch.stack([vectors[i] @ vectors[j] / 0.1 for j in others]), 0)
        by_hand.append(sum(float(total - vectors[i] @ vectors[j] / 0.1) for j in (0, 2, 3) if j != i) / 2)
    assert supcon_loss(vectors, classes).item() == pytest.approx(sum(by_hand) / 3, rel=1e-5)
    assert supcon_loss(vectors, torch.arange(6)).item() == 0.0


def test_contrast_falls_where_the_like_draw_together():
    vectors = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), dim=-1).requires_grad_()
    classes = torch.arange(8) % 2
    (slope,) = torch.autograd.grad(supcon_loss(vectors, classes), vectors)
    nearer = torch.nn.functional.normalize(vectors - 0.05 * slope, dim=-1)
    assert supcon_loss(nearer, classes) < supcon_loss(vectors, classes)


def test_pairs_hold_every_row_once_and_only_the_like_together():
    classes = [0, 0, 0, 1, 2, 2, None, None]
    units = in_pairs([5, 0, 6, 3, 2, 4, 7, 1], classes, Random(0))
    assert sorted(row for unit in units for row in unit) == list(range(8))
    assert sorted(len(unit) for unit in units) == [1, 1, 1, 1, 2, 2]
    assert all(classes[a] == classes[b] for a, b in (unit for unit in units if len(unit) == 2))
