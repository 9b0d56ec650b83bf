"""A base model on this machine that is asked by messages, as any provider is: a `ChatModel` over our own causal engine.

Encoders take no prompt: they answer as `Predictor`s, and behind a search of prompts stands a chat model or a base.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from pp_resources.device import CPU, device_kind, find_device
from pp_resources.fingerprint import digest
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.chat import AskOptions, AsksMany, Messages, Reply
from pp_resources.models.price import Price

GRAMMARS = 8  # compiled schemas that are kept
BATCH = 64  # answers in the making


class LocalChat(AsksMany):
    """The base model `model_id`, loaded when it is first asked; it answers one batch at a time, whoever asks.

    Messages go through the tokenizer's chat template, or stand with blank lines between them where it has none. A `schema` binds the
    answer (an answer that is not cut off follows it). The engine takes the likeliest token always: `temperature` and `seed` change nothing,
    and the same messages have the same answer. Tokens are counted exactly; no token is paid for. A prompt that leaves no room for
    `max_tokens` in the context has an empty answer that ends with "length".

    Raises UserError for a base that is not to be had.
    """

    price = Price(0.0, 0.0)

    def __init__(self, model_id: str, *, device: str = CPU, threads: int | None = None) -> None:
        self.name, self.folder, self.device, self.threads = f"local/{model_id}", find_base(model_id), device, threads
        self._lock = threading.Lock()
        self._grammars: dict[str, Any] = {}

    @cached_property
    def identity(self) -> str:
        return f"{weights_sha256(self.folder)} {_words(self.folder)} {device_kind(self.device)}"

    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]:
        """The likeliest answers, in order. What all prompts begin with is computed once."""
        with self._lock:
            return self._answered(asked, how.get("schema"), how.get("max_tokens"))

    def _answered(self, asked: Sequence[Messages], schema: Mapping[str, Any] | None, max_tokens: int | None) -> list[Reply]:
        from pp_resources.models.causal import DEFAULT_BUDGET, context_length, stop_ids
        from pp_resources.models.causal_decode import Rules
        from pp_resources.models.causal_prompt import message_ids

        grammar, limit = self._grammar(schema), max_tokens or DEFAULT_BUDGET
        prompts = [message_ids(self._tokenizer, messages) for messages in asked]
        room = context_length(self._model.config) - limit
        fitting = [i for i, ids in enumerate(prompts) if len(ids) <= room]
        replies = [Reply("", len(ids), 0, False, "length") for ids in prompts]
        began = time.perf_counter()
        rules = Rules(grammar, stop_ids(self._model, self._tokenizer), limit)
        last = [str(asked[i][-1]["content"]) for i in fitting]
        for place, said in _decoded(self._model, last, [prompts[i] for i in fitting], rules):
            text = self._tokenizer.decode(said.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            text = grammar.mend(text) if grammar and said.finish_reason == "stop" else text
            i = fitting[place]
            replies[i] = Reply(text, len(prompts[i]), len(said.tokens), False, said.finish_reason)
        each = (time.perf_counter() - began) / max(1, len(fitting))
        return [reply._replace(seconds=each) for reply in replies]

    def _grammar(self, schema: Mapping[str, Any] | None) -> Any:
        if schema is None:
            return None
        from pp_resources.models.causal import vocab_size
        from pp_resources.models.causal_grammar import Grammar

        key = digest(schema, ordered=True)
        if key not in self._grammars:
            if len(self._grammars) >= GRAMMARS:
                self._grammars.pop(next(iter(self._grammars)))
            self._grammars[key] = Grammar(self._tokenizer, schema, vocab_size(self._model))
        return self._grammars[key]

    @cached_property
    def _tokenizer(self) -> Any:
        from pp_resources.models.causal import load_tokenizer

        return load_tokenizer(self.folder)

    @cached_property
    def _model(self) -> Any:
        import torch

        from pp_resources.models.causal import load_model

        if self.threads:
            torch.set_num_threads(self.threads)
        return load_model(self.folder, device=find_device(self.device))


def _decoded(model: Any, texts: Sequence[str], prompts: list[list[int]], rules: Any) -> Iterator[tuple[int, Any]]:
    """Answers to prompts, with their indices, on what all of them begin with."""
    from pp_resources.models.causal_decode import compute_prefix, decode
    from pp_resources.models.causal_plain import decode_plainly, shares_prefix

    # Of every prompt at least one token is its own; a single one shares nothing.
    most = min(map(len, prompts)) - 1 if len(prompts) > 1 else 0
    same = next((i for i in range(most) if len({prompt[i] for prompt in prompts}) > 1), most)
    shared, own = (prompts[0][:same] if prompts else []), [prompt[same:] for prompt in prompts]
    if not shares_prefix(model):
        return decode_plainly(model, shared, texts, own, rules)
    return decode(model, compute_prefix(model, shared), texts, own, rules, BATCH)


def _words(folder: Path) -> str:
    """Digest of what turns messages into tokens."""
    from pp_resources.fingerprint import file_sha256

    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".txt", ".jinja", ".model"))
    return digest({file.name: file_sha256(file) for file in files})
