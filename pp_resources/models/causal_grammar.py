"""The grammar of a task's answers (llguidance): which tokens may come next so that the JSON follows its schema.

Greedy choice among the allowed tokens, forced text in its canonical tokens: baselines and adapters must use the same engine to be
comparable.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from pp_resources.errors import UserError
from pp_resources.json_schema import resolve
from pp_resources.models.causal_copies import Copies

# Compact JSON, as the training answers are written.
_COMPACT: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
# Keywords whose value is a map of schemas, not a schema.
_MAPS = ("properties", "$defs", "definitions", "patternProperties")
# Keywords whose value is data, in which a key "properties" would mean nothing.
_DATA = ("enum", "const", "default", "examples")
# What llguidance 1.9 knows of `format`; the others, which the standard calls annotations, are dropped.
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
# What it refuses.
_REFUSED = (
    *("contains", "minContains", "maxContains", "unevaluatedItems", "unevaluatedProperties", "propertyNames", "not", "if", "then", "else"),
    *("dependentRequired", "dependentSchemas", "dependencies", "$dynamicRef", "$dynamicAnchor"),
)
# What it passes over.
_IGNORED = ("contentEncoding", "contentMediaType", "contentSchema")


class Grammar:
    """Compiled once per schema and tokenizer; `start` gives a fresh matcher for one answer."""

    def __init__(self, tokenizer: Any, schema: Mapping[str, Any], vocab_size: int) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise UserError(
                "constrained decoding needs a fast tokenizer", where=str(tokenizer.name_or_path), how="set decoding.constrained to false"
            )
        self.schema, self.vocab_size = schema, vocab_size
        self._unique = _mentions_unique(schema)
        self.tokenizer: LLTokenizer = from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=tokenizer.eos_token_id)
        self._first, reason = _compile(self.tokenizer, schema)
        if reason:
            how = "simplify the schema or set decoding.constrained to false"
            raise UserError(f"constrained decoding cannot enforce the output schema: {reason}", where="io_schema.output", how=how)
        self._copies = Copies(schema, tighten, _COMPACT)

    def start(self, text: str) -> LLMatcher:
        """For the answer to this input: strings under `x-verbatim` are pieces of it."""
        if self._copies.fit(text):
            matcher = LLMatcher(self.tokenizer, LLMatcher.grammar_from_lark(self._copies.lark(text)))
            if not matcher.is_error():  # a text beyond the compiler's limits is answered by the schema alone
                return matcher
        return self._first.deep_copy()

    def accepts(self, ids: list[int], text: str) -> bool:
        """Whether the grammar can produce exactly this answer to this input, end token included."""
        return self.start(text).validate_tokens(ids) == len(ids)

    def allowed(self, matchers: list[LLMatcher]) -> np.ndarray:
        """Boolean (len(matchers), vocabulary): the tokens that may come next."""
        bits = allocate_token_bitmask(len(matchers), self.vocab_size)
        for row, matcher in enumerate(matchers):
            fill_next_token_bitmask(matcher, bits, row)
        # numpy unpacks faster than the library's torch helper compiles, which moreover needs a C++ compiler at run time.
        return np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, : self.vocab_size].astype(bool)

    def mend(self, text: str) -> str:
        """A whole answer without the repeated items of arrays that must not have any: the one rule that the grammar leaves open."""
        if not self._unique:
            return text
        value = json.loads(text)
        mended = _without_repeats(self.schema, self.schema, value)
        return text if mended == value else json.dumps(mended, ensure_ascii=False, separators=(",", ":"))

    def token_bytes(self, token: int) -> bytes:
        return self.tokenizer.decode_bytes([token])


def unenforced(schema: Mapping[str, Any]) -> list[str]:
    """What constrained decoding cannot hold an answer to, each with its place (`properties.a.contains`): answers may break it, or, for most
    keywords, the schema cannot be used for constrained decoding at all."""
    named = [*_unenforced(schema, ""), *Copies(schema, tighten, _COMPACT).loose]
    _, reason = _compile(LLTokenizer("byte"), schema)
    return named or ([reason] if reason else [])


def _unenforced(node: Any, at: str) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, Mapping) else ():
        place = f"{at}.{key}" if at else key
        if key in (*_REFUSED, *_IGNORED) or (key == "format" and value not in _FORMATS):
            yield place
        elif key == "uniqueItems" and value is True and node.get("minItems", 0) > 1:
            # Repeated items are taken out of a whole answer, after which too few may be left.
            yield place
        elif key not in _DATA and not key.startswith("x-"):
            children = value.items() if key in _MAPS and isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
            for name, child in children:
                yield from _unenforced(child, f"{place}.{name}")
            if not children:
                yield from _unenforced(value, place)


def _compile(tokenizer: LLTokenizer, schema: Mapping[str, Any]) -> tuple[LLMatcher, str]:
    """The matcher, and why it is none ("" where it is one)."""
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(tighten(schema), overrides=_COMPACT))
    lines = [line.strip() for line in matcher.get_error().splitlines()] if matcher.is_error() else []
    # A pattern that it cannot read is told on the last line.
    return matcher, (lines[-1] if lines[0].startswith("regex") else lines[0]) if lines else ""


def tighten(schema: Any) -> Any:
    """The schema of canonical answers as the grammar gets it: mostly narrower than that of valid ones.

    Objects with known keys take no others and have every key that may be null (an absent optional value is written as null). Annotations
    of ours (``x-…``) and formats that the compiler does not know are dropped, since it refuses them, and so is `uniqueItems`, which
    `mend` sees to.
    """
    if isinstance(schema, list):
        return [tighten(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {k: _inner(k, v) for k, v in schema.items() if not k.startswith("x-") and k != "uniqueItems"}
    if made.get("format", "date") not in _FORMATS:
        del made["format"]
    if isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
        always = [name for name, child in made["properties"].items() if name in made.get("required", []) or _takes_null(child)]
        made["required"] = [*always, *(name for name in made.get("required", []) if name not in always)]
    return made


def _inner(key: str, value: Any) -> Any:
    if key in _DATA:
        return value
    if key in _MAPS and isinstance(value, Mapping):
        return {name: tighten(child) for name, child in value.items()}
    return tighten(value)


def _takes_null(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    kind = node.get("type")
    if kind is not None:
        return kind == "null" or (isinstance(kind, list) and "null" in kind)
    return None in node.get("enum", []) or any(_takes_null(branch) for word in ("anyOf", "oneOf") for branch in node.get(word, []))


def _mentions_unique(node: Any) -> bool:
    if isinstance(node, Mapping):
        return node.get("uniqueItems") is True or any(_mentions_unique(child) for child in node.values())
    return isinstance(node, list) and any(_mentions_unique(child) for child in node)


def _without_repeats(root: Mapping[str, Any], node: Any, value: Any) -> Any:
    inner, _ = resolve(root, node)
    if isinstance(value, dict):
        return {name: _without_repeats(root, inner.get("properties", {}).get(name, {}), child) for name, child in value.items()}
    if not isinstance(value, list):
        return value
    items = [_without_repeats(root, inner.get("items", {}), item) for item in value]
    if inner.get("uniqueItems") is not True:
        return items
    # As text, since JSON tells true from 1 and Python does not.
    return list({json.dumps(item, sort_keys=True): item for item in items}.values())
