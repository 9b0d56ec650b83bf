"""The network: an encoder, which may be told the shapes of the letters, and per field a small layer on its token states.

choice, flags  attention pooling with a learnt query per field (zero at the start, so that it begins as mean pooling), unit length, linear
span           every range of up to `width` tokens scored by start, end and length, against a null option: one softmax over all of them
value          each token scored as a start and as an end, against a null option: the softmax is over what the reader finds in the text
tags           outside, begin, inside for each token
items          as tags, and for each token the choices of the other fields of the object that it may be in
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.tokens import SHAPES, Batch

NEG = -1e4  # masks a logit; finite, so that bf16 and softmax stay clean
SHAPE_DIM = 16
SCALE = 16.0  # of the unit-length pooled vector, so that the logits of a linear layer can be sharp


class HeadStack(nn.Module):
    """All heads of one schema. `width` is the longest span in tokens that a span head considers; `letters` the size of the encoder's word
    vectors where something is added to them for the shape of the word, 0 where not (a frozen encoder would not know what to do with it).
    At the start nothing is added."""

    def __init__(self, heads: Sequence[Head], hidden: int, width: int, dropout: float, letters: int = 0) -> None:
        super().__init__()
        self.heads, self.width = list(heads), width
        self.letters = nn.Embedding.from_pretrained(torch.zeros(SHAPES, letters), freeze=False) if letters else None
        self.shape = nn.Embedding(SHAPES, SHAPE_DIM)
        self.dropout = nn.Dropout(dropout)
        self.queries = nn.Parameter(torch.zeros(len(self.heads), hidden))
        tokens = hidden + SHAPE_DIM
        self.layers = nn.ModuleList()
        for head in self.heads:
            match head.kind:
                case "choice" | "flags":
                    self.layers.append(nn.Linear(hidden, len(head.values)))
                case "tags" | "items":
                    self.layers.append(nn.Linear(tokens, 3 + sum(len(field.values) for field in head.fields)))
                case "value":
                    self.layers.append(_Ends(tokens, hidden))
                case _:
                    self.layers.append(_Span(tokens, hidden, width))

    @property
    def device(self) -> torch.device:
        return self.queries.device

    def states(self, encoder: nn.Module, batch: Batch) -> Tensor:
        """Token states (batch, tokens, hidden) of `encoder`."""
        inputs: dict[str, Any] = {"input_ids": batch.ids}
        if self.letters is not None:
            words: nn.Module = encoder.get_input_embeddings()  # type: ignore[operator]
            inputs = {"inputs_embeds": words(batch.ids) + self.letters(batch.shapes)}
        return encoder(**inputs, attention_mask=batch.mask).last_hidden_state  # type: ignore[no-any-return]

    def forward(self, states: Tensor, batch: Batch) -> list[Tensor]:
        """`states` (batch, tokens, hidden) → per head its logits: choice/flags (batch, values), tags (batch, tokens, 3), items
        (batch, tokens, 3 + values of all fields), span (batch, 1 + tokens*width), value (batch, 1 + tokens, start and end); in the last two
        the null option comes first."""
        states = self.dropout(states.float())
        shaped = torch.cat([states, self.shape(batch.shapes)], -1)
        scores = torch.einsum("bth,kh->bkt", states, self.queries).masked_fill(batch.mask.unsqueeze(1) == 0, NEG)
        pooled = nn.functional.normalize(torch.einsum("bkt,bth->bkh", scores.softmax(-1), states), dim=-1) * SCALE
        spans = iter(self._spans(shaped, pooled, batch.words))
        out = []
        for k, (head, layer) in enumerate(zip(self.heads, self.layers)):
            if head.kind in ("tags", "items"):
                out.append(layer(shaped))
            elif head.kind == "value":
                out.append(layer(shaped, pooled[:, k]))
            elif head.kind == "span":
                out.append(next(spans))
            else:
                out.append(layer(pooled[:, k]))
        return out

    def _spans(self, shaped: Tensor, pooled: Tensor, words: Tensor) -> Sequence[Tensor]:
        """The logits of all span heads at once: a training step of snips, which has 39, takes 0.67 of the time of one by one."""
        own = [k for k, head in enumerate(self.heads) if head.kind == "span"]
        if not own:
            return ()
        layers = [layer for layer in self.layers if isinstance(layer, _Span)]
        weight, bias = (torch.cat([getattr(layer.ends, name) for layer in layers]) for name in ("weight", "bias"))
        both = nn.functional.linear(shaped, weight, bias).unflatten(-1, (len(own), 2)).permute(3, 0, 2, 1)
        start, end = both.masked_fill(~words.unsqueeze(1), NEG)  # (batch, heads, tokens) each
        # ends[b, k, i, w] is the end score of token i + w
        ends = nn.functional.pad(end, (0, self.width - 1), value=NEG).unfold(2, self.width, 1)
        lengths = torch.stack([layer.length for layer in layers]).unsqueeze(1)
        scores = (start.unsqueeze(-1) + ends + lengths).clamp(min=NEG)
        nulls, offsets = (torch.cat([getattr(layer.null, name) for layer in layers]) for name in ("weight", "bias"))
        null = (pooled[:, own] * nulls).sum(-1) + offsets
        return torch.cat([null.unsqueeze(-1), scores.flatten(2)], -1).unbind(1)


class _Ends(nn.Module):
    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.ends = nn.Linear(tokens, 2)
        self.null = nn.Linear(hidden, 1)

    def forward(self, shaped: Tensor, pooled: Tensor) -> Tensor:
        null = nn.functional.pad(self.null(pooled), (0, 1))  # start + end of the null option is its score
        return torch.cat([null.unsqueeze(1), self.ends(shaped)], 1)


class _Span(nn.Module):
    """The weights of one span head; HeadStack computes all of them together."""

    def __init__(self, tokens: int, hidden: int, width: int) -> None:
        super().__init__()
        self.ends = nn.Linear(tokens, 2)
        self.null = nn.Linear(hidden, 1)
        self.length = nn.Parameter(torch.zeros(width))
