"""Where the values of a compact JSON text stand, so that token probabilities can be given to fields."""

import json
from collections.abc import Sequence
from contextlib import suppress
from math import exp

_DECODER = json.JSONDecoder()


def value_spans(raw: bytes) -> list[tuple[str, int, int]]:
    """(dotted path, first byte, byte after the last) of each value that is no object, in a compact JSON object; of a text that was
    cut off, those that are whole."""
    # One character per byte: JSON's own syntax is ASCII, so offsets stay byte offsets.
    text, found = raw.decode("latin-1"), []

    def walk(at: int, path: str) -> int:
        if text[at] != "{":
            _, end = _DECODER.raw_decode(text, at)
            found.append((path, at, end))
            return end
        at += 1
        while text[at] != "}":
            key, at = _DECODER.raw_decode(text, at + (text[at] == ","))
            name = key.encode("latin-1").decode("utf-8", "replace") if key.isascii() is False else key
            at = walk(at + 1, f"{path}.{name}" if path else name)
        return at + 1

    with suppress(ValueError, IndexError):
        walk(0, "")
    return found


def field_confidence(pieces: Sequence[bytes], logprobs: Sequence[float]) -> dict[str, float]:
    """Probability of each field's value: the product over the tokens that touch it. `pieces` are the tokens' bytes, `logprobs`
    theirs (0 where forced)."""
    edges = [0]
    for piece in pieces:
        edges.append(edges[-1] + len(piece))
    return {
        path: exp(sum(p for p, start, end in zip(logprobs, edges[:-1], edges[1:], strict=True) if start < last and end > first))
        for path, first, last in value_spans(b"".join(pieces))
    }
