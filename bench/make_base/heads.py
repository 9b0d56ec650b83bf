"""A start for the first two layers that already copies: heads that look back, and on top of them induction heads.

Copying a string is "find where what I have just written stood before, and write what came after it there" (induction heads, Olsson et
al. 2022, arXiv:2209.11895). Training from a random start has to find that by itself, late; written into the start, it only has to be
kept. Loss on the answers after 0.5 million tokens, with look-back heads alone and with this start: copy drills 2.93 and 0.98, tasks 2.56
and 1.26, tasks with kinds of values never seen 4.94 and 2.75 (Muon at 0.02 and 0.01; this start at 0.02 gives 1.41, 1.61 and 3.45:
large steps undo some of it).

The residual stream is laid out by hand in blocks of a head's size: the lower half holds the token's own embedding, the upper half what
the look-back heads fetch.
"""

import math

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

LOOK_BACK = ((1, 0), (1, 1), (2, 1), (3, 1))  # per head of layer 0: how far back, and which block of the embedding it fetches
FIRST_FETCHED = 4  # block that the first of them writes to; the others follow
# Per head of layer 1: what two positions must share, as pairs (block of the query, block of the key). Own token and the one before there
# (4, 5), the tokens before both (5 and 6), and the token before against the one three before: "key: value" found from `"key":"`.
INDUCTION = (((0, 4),), ((1, 5),), ((1, 5), (5, 6)), ((0, 4), (5, 6)), ((5, 7),))
COPYING = 4  # the first of them copy one block of the found token's embedding each
PEAK = 12.0  # attention logit at the offset, before the softmax
PAIRS = 6  # rotary frequencies that place the offset, the fastest ones: they tell neighbours apart
MATCH = 2.2  # scale of the induction heads' queries and keys: an equal token scores about 12, others about 0 +- 3
EMBEDDING, CONSTANT = 0.0283, 0.16  # size of an embedding's entries, and of the one that is equal for all tokens
FETCHED, COPIED = 0.0223, 0.09  # output scales: what is fetched weighs as much as the embedding, what is copied three times that
LAST_NORM = 2.5  # with tied embeddings of this size and a norm of 1, no token could be likely


def copying(model: LlamaForCausalLM, seed: int) -> None:
    """Set embeddings, the heads named above and the last norm in place; everything else keeps its random start."""
    config = model.config
    width, size, theta = config.hidden_size, config.hidden_size // config.num_attention_heads, config.rope_parameters["rope_theta"]
    random = torch.Generator().manual_seed(seed)
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding.zero_()
        embedding[:, 1 : width // 2] = EMBEDDING * torch.randn(len(embedding), width // 2 - 1, generator=random)
        embedding[:, 0] = CONSTANT
        for head, (offset, block) in enumerate(LOOK_BACK):
            _set_head(first, head, *_offset_match(width, size, theta, offset), *_move(width, size, block, FIRST_FETCHED + head, FETCHED))
        for head, match in enumerate(INDUCTION):
            moved = _move(width, size, head, head, COPIED) if head < COPYING else (None, None)
            _set_head(second, head, *_token_match(width, size, match), *moved)
        model.model.norm.weight.fill_(LAST_NORM)


def _set_head(attention: torch.nn.Module, head: int, query: Tensor, key: Tensor, value: Tensor | None, output: Tensor | None) -> None:
    rows = slice(head * len(query), (head + 1) * len(query))
    attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
    if value is not None and output is not None:
        attention.v_proj.weight[rows], attention.o_proj.weight[:, rows] = value, output


def _offset_match(width: int, size: int, theta: float, offset: int) -> tuple[Tensor, Tensor]:
    """(query, key), both (size, width): read through the rotary embedding, the constant entry gives a score that depends on the distance
    alone and peaks at `offset`."""
    query, key = torch.zeros(size, width), torch.zeros(size, width)
    normed = CONSTANT / math.sqrt((CONSTANT**2 + (width // 2 - 1) * EMBEDDING**2) / width)  # the constant entry after the norm
    scale = math.sqrt(PEAK * math.sqrt(size) / PAIRS) / normed
    for pair in range(PAIRS):
        angle = -offset * theta ** (-2 * pair / size)
        key[pair, 0] = scale
        query[pair, 0], query[pair + size // 2, 0] = scale * math.cos(angle), scale * math.sin(angle)
    return query, key


def _token_match(width: int, size: int, match: tuple[tuple[int, int], ...]) -> tuple[Tensor, Tensor]:
    """(query, key): the score is high where each key block holds what the query block holds. Only the slow half of the rotary
    frequencies is used, in which a match hardly depends on the distance."""
    query, key = torch.zeros(size, width), torch.zeros(size, width)
    slow = [*range(size // 4, size // 2), *range(size // 4 + size // 2, size)]
    for part, (asked, there) in enumerate(match):
        for entry, slot in enumerate(slow[part :: len(match)]):
            query[slot, asked * size + 1 + entry] = key[slot, there * size + 1 + entry] = MATCH
    return query, key


def _move(width: int, size: int, source: int, target: int, scale: float) -> tuple[Tensor, Tensor]:
    """(value, output): what stands in block `source` of the attended token is added to block `target`; never the constant entry."""
    value, output = torch.zeros(size, width), torch.zeros(width, size)
    for i in range(size):
        if source * size + i:
            value[i, source * size + i] = 1.0
            output[target * size + i, i] = scale
    return value, output
