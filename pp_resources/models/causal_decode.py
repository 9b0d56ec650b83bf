"""Greedy answers to many inputs on a shared prefix: rows that finish make room for waiting inputs, forced tokens are fed in one piece.

`generate` of Transformers computes the prompt anew for every input, feeds forced tokens one by one and copies all keys and values at every
step. Here a token of the prefix is computed once for all inputs, and a pass is made only where there is a choice. bench/decode.py
measures the difference.

The answer is that of one-token-at-a-time greedy decoding under the same masks, up to floating point: sums are taken in another order, so
where the two best tokens are nearer to each other than rounding (about 1e-6 of the largest logit in fp32, 1e-2 in bf16), either may win.
The same inputs in the same order always give the same answers.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pp_resources.errors import UserError
from pp_resources.models.causal_cache import RowCache, ending_at, reading_rows
from pp_resources.models.causal_grammar import Grammar

# Most tokens that a row reads at once, and that all rows may hold besides the prefix.
CHUNK, ROOM = 512, 32768
# Tokens of a pass: on the CPU few enough to stay in its cache (4 % less time than all at once).
PASS = {"cpu": 512}
PASS_ELSEWHERE = 8192


@dataclass
class Decoded:
    """Tokens of one answer without the end token, and the log-probability of each among the tokens that were allowed (0 where it
    was forced)."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = "length"


@dataclass(frozen=True)
class Rules:
    """What may be said: any token without a grammar, at most `limit` of them, `stop_ids` end the answer."""

    grammar: Grammar | None
    stop_ids: set[int]
    limit: int

    def choose(self, logits: Tensor, rows: list["Row"]) -> None:
        """Give each row its likeliest allowed token; `logits` is (rows, vocabulary)."""
        logits = logits.float()
        if self.grammar:
            # To where the logits are: a mask is a quarter of their bytes, and only the choices come back.
            allowed = torch.from_numpy(self.grammar.allowed([row.matcher for row in rows if row.matcher])).to(logits.device)
            # A model may have more rows of logits than the tokenizer has tokens, never fewer.
            logits = logits[:, : self.grammar.vocab_size].masked_fill_(~allowed, float("-inf"))
        tokens, logprobs = logits.argmax(-1), logits.softmax(-1).amax(-1).log()
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.take(token, logprob)


class Row:
    """One answer in the making; `pending` are the tokens to read before the next choice."""

    def __init__(self, index: int, text: str, suffix: list[int], rules: Rules) -> None:
        self.index, self.rules = index, rules
        self.answer, self.done = Decoded(), False
        self.matcher = rules.grammar.start(text) if rules.grammar else None
        self.pending = list(suffix)
        self._force()

    def feed(self, most: int | None = None) -> list[int]:
        """The tokens to read now, at most that many."""
        most = len(self.pending) if most is None else most
        fed, self.pending = self.pending[:most], self.pending[most:]
        return fed

    def take(self, token: int, logprob: float) -> None:
        """Add the token chosen after all was read, and what it forces."""
        if token in self.rules.stop_ids:
            self.answer.finish_reason, self.done = "stop", True
            return
        self.answer.tokens.append(token)
        self.answer.logprobs.append(logprob)
        self.pending.append(token)
        if self.matcher and not self.matcher.consume_token(token):
            reason, how = self.matcher.get_error(), "set decoding.constrained to false"
            raise UserError(f"constrained decoding failed: {reason}", where="io_schema.output", how=how)
        self._force()

    def _force(self) -> None:
        """Append the tokens that the grammar leaves no choice about, and note the end."""
        answer = self.answer
        if self.matcher:
            found = self.matcher.compute_ff_tokens()
            if found:
                self.matcher.consume_tokens(found)
            whole = [token for token in found if token not in self.rules.stop_ids]
            forced = whole[: self.rules.limit - len(answer.tokens)]
            answer.tokens += forced
            answer.logprobs += [0.0] * len(forced)
            self.pending += forced
            if self.matcher.is_stopped() and len(forced) == len(whole):
                answer.finish_reason = "stop"
        self.done = answer.finish_reason == "stop" or len(answer.tokens) >= self.rules.limit


@torch.inference_mode()
def compute_prefix(model: Any, prefix_ids: list[int]) -> DynamicCache:
    """Keys and values of the shared prefix; empty for an empty prefix."""
    # Without a configuration the cache keeps all tokens also where a window slides.
    cache = DynamicCache()
    if prefix_ids:
        ids = torch.tensor([prefix_ids], device=model.device)
        model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


@torch.inference_mode()
def decode(
    model: Any, prefix: DynamicCache, texts: Sequence[str], suffixes: list[list[int]], rules: Rules, batch_size: int
) -> Iterator[tuple[int, Decoded]]:
    """Greedy answers to `texts`, whose tokens after the prefix are `suffixes`, with their indices, as they get done; `batch_size` at a
    time."""
    # The longest first: neighbours in a pass are of similar length, and the last ones to finish are short.
    waiting = deque(sorted(range(len(suffixes)), key=lambda i: (-len(suffixes[i]), i)))
    slots = max(map(len, suffixes), default=0) + rules.limit
    size = max(1, min(batch_size, len(waiting), ROOM // slots))
    cache, rows = RowCache(prefix, size, slots), list[Row]()
    with reading_rows(model):
        while rows or waiting:
            while waiting and len(rows) < size:
                # Not before its turn: a matcher of an input's own takes memory.
                row = Row(i := waiting.popleft(), texts[i], suffixes[i], rules)
                if row.done:
                    yield row.index, row.answer
                    continue
                cache.lengths[len(rows)] = 0
                rows.append(row)
            if not rows:
                return
            logits = read_rows(model, cache, [row.feed(CHUNK) for row in rows])
            ready = [place for place, row in enumerate(rows) if not row.pending]
            rules.choose(logits[ready], [rows[place] for place in ready])
            for place in reversed(ready):
                if rows[place].done:
                    yield rows[place].index, rows[place].answer
                    last = rows.pop()
                    if place < len(rows):
                        rows[place] = last
                        cache.move(len(rows), place)


def read_rows(model: Any, cache: RowCache, chunks: list[list[int]]) -> Tensor:
    """Feed a chunk to each row; the logits after its last token, (rows, vocabulary)."""
    return torch.cat([*passes(model, cache, chunks)])


def passes(model: Any, cache: RowCache, chunks: list[list[int]], *, every: bool = False) -> Iterator[Tensor]:
    """The same in pieces, one for each forward pass; with `every` the logits after every token, (tokens, vocabulary)."""
    # The logits of all tokens of a large pass would fill the memory where vocabularies are large.
    most, first = PASS["cpu"] if every else PASS.get(model.device.type, PASS_ELSEWHERE), 0
    while first < len(chunks):
        end, tokens = first, 0
        while end < len(chunks) and (end == first or tokens + len(chunks[end]) <= most):
            tokens += len(chunks[end])
            end += 1
        lengths = [len(chunk) for chunk in chunks[first:end]]
        positions = cache.lay_out(first, lengths, model.device)
        ids = torch.tensor([[token for chunk in chunks[first:end] for token in chunk]], device=model.device)
        keep = torch.tensor(lengths, device=model.device).cumsum(0) - 1
        with nullcontext() if every else ending_at(model, keep, tokens):
            out = model(
                input_ids=ids, position_ids=positions[None], past_key_values=cache, use_cache=True, logits_to_keep=0 if every else keep
            )
        yield out.logits[0]
        first = end
