"""Tokens and targets; also the small random encoder that the other encoder tests use."""

import string
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from pp_resources.models.encoder.compile import compile_schema
from pp_resources.models.encoder.targets import BEGIN, INSIDE, OUTSIDE, UNTOLD, head_loss, target_of, token_ranges
from pp_resources.models.encoder.tokens import collate, encode

WORDS = [
    "refund",
    "the",
    "order",
    "please",
    "hello",
    "where",
    "is",
    "my",
    "red",
    "tea",
    "pot",
    "lid",
    "and",
    "from",
    "to",
    "play",
    "##ing",
    "##s",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARS = string.ascii_lowercase + string.digits + string.punctuation


def tiny_encoder(folder: Path, positions: int = 64) -> Path:
    """A BERT of two layers with random weights and a WordPiece vocabulary of a few words and all letters, as a model folder."""
    torch.set_num_threads(1)
    words = [*SPECIAL, *WORDS, *CHARS, *(f"##{c}" for c in string.ascii_lowercase + string.digits)]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=positions, initializer_range=0.2, **size)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tokenizer(tiny):
    return AutoTokenizer.from_pretrained(tiny)


def heads(**properties):
    return compile_schema({"type": "object", "properties": properties, "required": list(properties)})


def pieces(row, text, ranges):
    return [text[row.offsets[first][0] : row.offsets[last][1]] for first, last in ranges]


STRING, LIST = {"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}}


def test_encoding_keeps_offsets_shapes_and_says_what_was_cut(tokenizer):
    text = "Hello REFUND xYz 42!"
    (row,) = encode(tokenizer, [text], 64)
    words = [(text[a:b], s) for (a, b), s in zip(row.offsets, row.shapes)]
    title, upper, mixed, number, later = 4, 5, 6, 2, 5
    assert words[:4] == [("", 0), ("Hello", title), ("REFUND", upper), ("x", mixed)]
    rest = [("Y", mixed + later), ("z", mixed + later), ("4", number), ("2", number + later), ("!", 1), ("", 0)]
    assert words[4:] == rest
    assert not row.truncated
    long, short = encode(tokenizer, ["please " * 50, "please"], 8)
    assert (len(long.ids), long.truncated, short.truncated) == (8, True, False)
    assert long.offsets[-1] == (0, 0)


def test_a_space_that_the_vocabulary_counts_to_a_word_is_not_in_its_offsets():
    vocabulary = [("<unk>", 0.0), ("▁", -2.0), ("▁fly", -1.0), ("▁Oslo", -1.0)]
    inner = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    sentencepiece = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    text = "fly  Oslo"
    (row,) = encode(sentencepiece, [text], 64)
    assert pieces(row, text, token_ranges(row, text, "Oslo")) == ["Oslo"]
    assert [text[a:b] for a, b in row.offsets] == ["fly", "", "Oslo"]


def test_a_batch_is_padded_on_the_right_and_marks_the_words(tokenizer):
    batch = collate(encode(tokenizer, ["please", "where is my order", ""], 64), 0)
    assert batch.ids.shape == (3, 6)
    assert batch.mask.sum(1).tolist() == [3, 6, 2]
    assert batch.words.int().tolist() == [[0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0], [0] * 6]
    assert batch.ids[0, 3:].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("red pot and red pot", "red pot", ["red pot", "red pot"]),
        ("playing play", "play", ["play"]),
        ("playing", "play", ["play"]),
        ("refund", "fun", []),
        ("order A-17.", "A-17", ["A-17"]),
        ("order A-17.", "a-17", []),
        ("please", "", []),
    ],
)
def test_a_value_is_taught_at_each_place_where_tokens_begin_and_end_with_it(tokenizer, text, value, found):
    (row,) = encode(tokenizer, [text], 64)
    assert pieces(row, text, token_ranges(row, text, value)) == found


def test_a_value_that_is_cut_off_teaches_nothing_and_null_teaches_null(tokenizer):
    (head,) = heads(x=STRING)
    text = "please " * 10 + "refund"
    (row,) = encode(tokenizer, [text], 8)
    assert target_of(head, row, text, {"x": "refund"}) is None
    assert len(target_of(head, row, text, {"x": "please"})) == 6
    assert target_of(head, row, text, {"x": None}) == target_of(head, row, text, {}) == []


def test_choices_and_flags_tell_true_from_one(tokenizer):
    choice, flags = heads(x={"enum": [1, True, 0, False, "a"]}, y={"type": "array", "items": {"enum": [1, True, "a"]}})
    (row,) = encode(tokenizer, ["please"], 64)
    assert [target_of(choice, row, "", {"x": v}) for v in (1, True, 0, False, "a", 1.0, "b")] == [0, 1, 2, 3, 4, 0, None]
    assert target_of(flags, row, "", {"y": [True]}) == [0.0, 1.0, 0.0]
    assert target_of(flags, row, "", {"y": [1, "a"]}) == [1.0, 0.0, 1.0]
    assert target_of(flags, row, "", {"y": []}) == target_of(flags, row, "", {"y": None}) == [0.0, 0.0, 0.0]


def test_tags_mark_every_place_of_a_value_longest_first_then_in_the_given_order(tokenizer):
    (head,) = heads(x=LIST)
    text = "tea pot lid and tea"

    def tags(*values):
        (row,) = encode(tokenizer, [text], 64)
        return target_of(head, row, text, {"x": list(values)})

    o, b, i = OUTSIDE, BEGIN, INSIDE
    assert tags() == [o] * 7
    assert tags("tea") == [o, b, o, o, o, b, o]
    assert tags("tea", "tea pot lid") == [o, b, i, i, o, b, o]
    # Two of one length that overlap: the first given wins, whatever the seed of Python's hashes.
    assert tags("tea pot", "pot lid") == [o, b, i, o, o, o, o]
    assert tags("pot lid", "tea pot") == [o, o, b, i, o, o, o]
    assert tags("tea", "hello") is None
    # A part of a token: nothing is learnt for that token, the others still teach.
    assert tags("tea", "po") == [o, b, UNTOLD, o, o, b, o]


def test_the_loss_falls_where_the_right_answer_gains(tokenizer):
    """Each kind: raising the logits of the right answer lowers the loss; rows without target do not count."""
    schema = heads(x={"enum": ["a", "b"]}, y={"type": "array", "items": {"enum": ["a", "b"]}}, s=STRING, t=LIST)
    text, width = "red tea pot", 4
    rows = encode(tokenizer, [text, "tea"], 64)
    batch = collate(rows, 0)
    gold = {"x": "b", "y": ["b"], "s": "tea pot", "t": ["tea pot"]}
    sizes = {"x": (2, 2), "y": (2, 2), "s": (2, 1 + 5 * width), "t": (2, 5, 3)}
    right = {"x": (0, 1), "y": (0, 1), "s": (0, 1 + 2 * width + 1), "t": (0, 2, BEGIN)}
    for head in schema:
        targets = [target_of(head, rows[0], text, gold), None]
        logits = torch.zeros(sizes[head.path])
        before = head_loss(head, logits, targets, batch.words, width, 0.0)
        logits[right[head.path]] += 3
        logits[1] += 100 * torch.randn(logits[1].shape)
        assert head_loss(head, logits, targets, batch.words, width, 0.0) < before - 0.1, head.path
        assert head_loss(head, logits, [None, None], batch.words, width, 0.0) == 0.0


def test_any_place_of_a_span_counts_as_right_and_one_wider_than_the_head_teaches_nothing(tokenizer):
    (head,) = heads(s=STRING)
    text, width = "tea and tea", 2
    rows = encode(tokenizer, [text], 64)
    words = collate(rows, 0).words
    target = target_of(head, rows[0], text, {"s": "tea"})
    logits = torch.zeros(1, 1 + 5 * width)
    for first, _ in target:
        one = logits.clone()
        one[0, 1 + first * width] = 50.0
        assert head_loss(head, one, [target], words, width, 0.0) < 1e-6
    wide = target_of(head, rows[0], text, {"s": "tea and tea"})
    assert wide == [(1, 3)]
    assert head_loss(head, logits, [wide], words, width, 0.0) == 0.0
