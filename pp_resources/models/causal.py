"""Causal language models as predictors: any Transformers checkpoint, bare or with a LoRA adapter, free or bound to the output schema."""

import time
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import torch

from pp_resources.errors import UserError
from pp_resources.models.causal_decode import Decoded, compute_prefix, decode
from pp_resources.models.causal_fields import field_confidence
from pp_resources.models.causal_grammar import Grammar
from pp_resources.models.causal_prompt import Prompt, PromptEncoder
from pp_resources.models.interface import Prediction
from pp_resources.progress import steps

DEFAULT_BUDGET = 256


class CausalPredictor:
    """Greedy answers of a causal model; same inputs, same answers (fp32 on the CPU by default).

    Constrained, every answer that is not cut off follows the schema; free, the model says what it likes. `confidence` is the
    probability of the whole answer under greedy decoding: the product over its tokens, forced ones counting 1, choices taken among
    the tokens that the grammar allows; `fields` (constrained only) the same over the tokens of each value. `finish_reason` is
    "length" when `max_new_tokens` cut the answer, and also, with an empty text, when an input does not fit the model's context.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        output_schema: Mapping[str, Any],
        prompt: Prompt,
        *,
        constrained: bool = True,
        max_new_tokens: int | None = None,
        batch_size: int = 16,
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.encoder = PromptEncoder(tokenizer, prompt)
        self.grammar = Grammar(tokenizer, output_schema, _vocab_size(model)) if constrained else None
        self.max_new_tokens = max_new_tokens or DEFAULT_BUDGET
        self.batch_size = batch_size
        self._stop_ids = _stop_ids(model, tokenizer)
        self._prefix: Any = None

    @classmethod
    def from_base(cls, name: str, base: Path, output_schema: Mapping[str, Any], prompt: Prompt, **options: Any) -> "CausalPredictor":
        """The base model as it is; few-shot examples stand in `prompt`. `options` as in the constructor."""
        return cls(name, load_model(base), load_tokenizer(base), output_schema, prompt, **options)

    @classmethod
    def from_adapter(
        cls,
        name: str,
        base: Path,
        adapter: Path,
        output_schema: Mapping[str, Any],
        prompt: Prompt,
        *,
        tokenizer: Path | None = None,
        **options: Any,
    ) -> "CausalPredictor":
        """The base with a LoRA adapter folder (adapter_config.json, adapter_model.safetensors), merged in memory.

        `tokenizer` is the folder of the tokenizer that was trained with, the base's by default. Raises UserError when the adapter
        does not fit the base.
        """
        model = load_adapter(load_model(base), adapter).merge_and_unload()
        return cls(name, model.eval(), load_tokenizer(tokenizer or base), output_schema, prompt, **options)

    def predict(self, inputs: Sequence[str]) -> list[Prediction]:
        """One Prediction per input, in order. Inputs are batched by length."""
        suffixes = [self.encoder.suffix_ids(text) for text in inputs]
        room = context_length(self.model) - len(self.encoder.prefix_ids) - self.max_new_tokens
        order = sorted((i for i in range(len(inputs)) if len(suffixes[i]) <= room), key=lambda i: (len(suffixes[i]), i))
        made: dict[int, Prediction] = {}
        with steps("answering", -(-len(order) // self.batch_size)) as advance:
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                began = time.perf_counter()
                decoded = self._decode([suffixes[i] for i in rows])
                latency = (time.perf_counter() - began) * 1000 / len(rows)
                made |= {i: self._prediction(answer, len(suffixes[i]), latency) for i, answer in zip(rows, decoded, strict=True)}
                advance("")
        too_long = {
            i: Prediction("", tokens_in=self._tokens_in(len(suffixes[i])), finish_reason="length")
            for i in range(len(inputs))
            if i not in made
        }
        return [(made | too_long)[i] for i in range(len(inputs))]

    def forget_prefix(self) -> None:
        """Compute the shared prefix anew at the next call: needed after the weights have changed."""
        self._prefix = None

    def _decode(self, suffixes: list[list[int]]) -> list[Decoded]:
        if self._prefix is None:
            self._prefix = compute_prefix(self.model, self.encoder.prefix_ids)
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        return decode(
            self.model,
            self._prefix,
            len(self.encoder.prefix_ids),
            suffixes,
            grammar=self.grammar,
            stop_ids=self._stop_ids,
            limit=self.max_new_tokens,
            pad_id=pad,
        )

    def _prediction(self, answer: Decoded, suffix: int, latency_ms: float) -> Prediction:
        fields = field_confidence([self.grammar.token_bytes(t) for t in answer.tokens], answer.logprobs) if self.grammar else {}
        text = self.tokenizer.decode(answer.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Prediction(
            text=self.grammar.mend(text) if self.grammar and answer.finish_reason == "stop" else text,
            confidence=exp(sum(answer.logprobs)),
            fields=fields,
            tokens_in=self._tokens_in(suffix),
            tokens_out=len(answer.tokens),
            latency_ms=latency_ms,
            finish_reason=answer.finish_reason,
        )

    def _tokens_in(self, suffix: int) -> int:
        return len(self.encoder.prefix_ids) + suffix


def load_model(folder: Path, *, attention: str | None = None) -> Any:
    """The model of a folder in fp32 on the CPU, ready to predict; `attention` as Transformers names it, by default the fastest that the
    architecture has. Raises UserError when it is not a causal language model."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=attention, local_files_only=True, use_safetensors=True
        )
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"not a causal language model: {reason}", where=str(folder), how="give a folder that AutoModelForCausalLM loads"
        ) from error
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_adapter(model: Any, adapter: Path) -> Any:
    """The model with the adapter attached (peft). Raises UserError when a weight has no place or a place no weight: peft alone would
    serve the base, or half of the adapter, without a word."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    how = "use the base that it was trained on"
    try:
        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
            stored = set(file.keys())
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(f"the adapter does not fit the base model: {str(error).splitlines()[0]}", where=str(adapter), how=how) from error
    odd = sorted(stored ^ set(get_peft_model_state_dict(model)))
    if odd:
        raise UserError(
            f"the adapter does not fit the base model: {len(odd)} weights differ, such as {odd[0]}", where=str(adapter), how=how
        )
    return model


def _vocab_size(model: Any) -> int:
    return int(model.get_output_embeddings().weight.shape[0])


def _stop_ids(model: Any, tokenizer: Any) -> set[int]:
    # Chat models may end a turn with another token than the tokenizer's end token.
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {tokenizer.eos_token_id, *([] if listed is None else listed if isinstance(listed, list) else [listed])}


def context_length(model: Any) -> int:
    """Most tokens that the model can take, prompt and answer together."""
    return int(getattr(model.config, "max_position_embeddings", None) or 1_000_000)
