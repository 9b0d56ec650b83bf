"""Causal language models as predictors: any Transformers checkpoint, bare or with a LoRA adapter, free or bound to the output schema."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp
from pathlib import Path
from typing import Any

import torch

from pp_resources.errors import UserError
from pp_resources.models.causal_choices import alternatives, choices_of, listed_values
from pp_resources.models.causal_decode import Decoded, Rules, compute_prefix, decode
from pp_resources.models.causal_fields import field_confidence
from pp_resources.models.causal_grammar import Grammar
from pp_resources.models.causal_plain import decode_plainly, shares_prefix
from pp_resources.models.causal_prompt import Prompt, PromptEncoder
from pp_resources.models.interface import Prediction
from pp_resources.progress import steps

DEFAULT_BUDGET = 256
ONE_PROMPT = "an activated adapter works behind the prompt that it was trained with alone"


class CausalPredictor:
    """Greedy answers of a causal model, computed where the model is; same inputs, same answers on the CPU.

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
        batch_size: int = 64,
        activated: bool = False,
    ) -> None:
        self.name = name
        self.model = model
        self.tokenizer = tokenizer
        self.schema = output_schema
        self.encoder = PromptEncoder(tokenizer, prompt, activated=activated)
        self.grammar = Grammar(tokenizer, output_schema, vocab_size(model)) if constrained else None
        self.max_new_tokens = max_new_tokens or DEFAULT_BUDGET
        self.batch_size = batch_size
        self._stop_ids = stop_ids(model, tokenizer)
        self._activated = activated
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
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> "CausalPredictor":
        """The base with a LoRA adapter folder (adapter_config.json, adapter_model.safetensors), merged in memory.

        An activated adapter works on what comes after the shared prefix, which stays with the base. `tokenizer` is the folder of the
        tokenizer that was trained with, the base's by default; all of it goes to `device`. Raises UserError when the adapter does not fit
        the base.
        """
        model, begins = load_model(base, device=device), invocation_ids(adapter)
        made = cls(name, model, load_tokenizer(tokenizer or base), output_schema, prompt, activated=bool(begins), **options)
        if begins != made.encoder.invocation_ids:
            raise UserError(
                "the adapter begins at other tokens than this prompt has", where=str(adapter), how="use the task it was trained on"
            )
        if begins:
            made.keep_prefix()
        made.model = load_adapter(model, adapter).merge_and_unload().eval()
        return made

    def behind(self, prompt: Prompt) -> "CausalPredictor":
        """The same model and rules behind another prompt. Raises UserError for an activated adapter, which belongs to one prompt."""
        if self._activated:
            how = "train again with the other prompt"
            raise UserError(ONE_PROMPT, where=self.name, how=how)
        options: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "batch_size": self.batch_size}
        made = CausalPredictor(self.name, self.model, self.tokenizer, self.schema, prompt, constrained=False, **options)
        made.grammar = self.grammar
        return made

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        """One Prediction per input, in order; at most `batch_size` are decoded at a time. With `distributions` each has the `choices` of
        its fields with listed values (behind the earlier fields as answered), at the cost of reading answers and values once."""
        if distributions and not shares_prefix(self.model):
            how = "use another base model"
            raise UserError("distributions need an architecture that can share a prefix", where=self.name, how=how)
        suffixes = [self.encoder.suffix_ids(text) for text in inputs]
        room = context_length(self.model.config) - len(self.encoder.prefix_ids) - self.max_new_tokens
        fitting = [i for i, suffix in enumerate(suffixes) if len(suffix) <= room]
        began, decoded = time.perf_counter(), dict[int, Decoded]()
        with steps("answering", len(fitting)) as advance:
            for place, answer in self._decode([inputs[i] for i in fitting], [suffixes[i] for i in fitting]):
                decoded[fitting[place]] = answer
                advance("")
        latency = (time.perf_counter() - began) * 1000 / max(1, len(fitting))
        made = [self._prediction(decoded.get(i), len(suffix), latency) for i, suffix in enumerate(suffixes)]
        if not distributions:
            return made
        listed = listed_values(self.schema)
        whole = (said.text if said.finish_reason == "stop" else "" for said in made)
        answers = [alternatives(listed, self.tokenizer, suffix, text) for suffix, text in zip(suffixes, whole, strict=True)]
        choices = choices_of(self.model, self._prefix, answers)
        return [replace(said, choices=among) for said, among in zip(made, choices, strict=True)]

    def forget_prefix(self) -> None:
        """Compute the shared prefix anew at the next call: needed after the weights have changed. An activated adapter's is the base's."""
        if not self._activated:
            self._prefix = None

    def keep_prefix(self) -> None:
        """Compute the shared prefix with the model as it is now."""
        self._prefix = compute_prefix(self.model, self.encoder.prefix_ids)

    def _decode(self, texts: Sequence[str], suffixes: list[list[int]]) -> Iterator[tuple[int, Decoded]]:
        rules = Rules(self.grammar, self._stop_ids, self.max_new_tokens)
        if not shares_prefix(self.model):
            if self._activated:
                how = "train another recipe on it"
                raise UserError("an activated adapter needs an architecture that can share a prefix", where=self.name, how=how)
            return decode_plainly(self.model, self.encoder.prefix_ids, texts, suffixes, rules)
        if self._prefix is None:
            self.keep_prefix()
        return decode(self.model, self._prefix, texts, suffixes, rules, self.batch_size)

    def _prediction(self, answer: Decoded | None, suffix: int, latency_ms: float) -> Prediction:
        tokens_in = len(self.encoder.prefix_ids) + suffix
        if answer is None:
            return Prediction("", tokens_in=tokens_in, finish_reason="length")
        fields = field_confidence([self.grammar.token_bytes(t) for t in answer.tokens], answer.logprobs) if self.grammar else {}
        text = self.tokenizer.decode(answer.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Prediction(
            text=self.grammar.mend(text) if self.grammar and answer.finish_reason == "stop" else text,
            confidence=exp(sum(answer.logprobs)),
            fields=fields,
            tokens_in=tokens_in,
            tokens_out=len(answer.tokens),
            latency_ms=latency_ms,
            finish_reason=answer.finish_reason,
        )


def load_model(folder: Path, *, attention: str | None = None, device: torch.device | str = "cpu") -> Any:
    """The model of a folder in fp32 on `device`, ready to predict; `attention` as Transformers names it, by default the fastest that the
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
    return model.eval().to(device)


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def invocation_ids(adapter: Path) -> list[int]:
    """The tokens from which on an activated adapter works (`alora_invocation_tokens` of peft); none for one that always does."""
    return json.loads((adapter / "adapter_config.json").read_text("utf-8")).get("alora_invocation_tokens") or []


def load_adapter(model: Any, adapter: Path) -> Any:
    """The model with the adapter attached (peft). Raises UserError when a weight has no place or a place no weight: peft alone would
    serve the base, or half of the adapter, without a word."""
    from peft import LoraConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    how = "use the base that it was trained on"
    try:
        # Where an activated adapter begins is this module's affair: the library would look for its tokens in each call.
        config = LoraConfig.from_pretrained(str(adapter))
        config.alora_invocation_tokens = None
        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=False, config=config)
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


def vocab_size(model: Any) -> int:
    """How many logits a model has."""
    return int(model.get_output_embeddings().weight.shape[0])


def stop_ids(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end an answer."""
    # Chat models may end a turn with another token than the tokenizer's end token.
    listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {tokenizer.eos_token_id, *([] if listed is None else listed if isinstance(listed, list) else [listed])}


def context_length(config: Any) -> int:
    """Most tokens that a model of this configuration can take, prompt and answer together."""
    return int(getattr(config, "max_position_embeddings", None) or 1_000_000)
