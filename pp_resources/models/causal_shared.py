"""Many tasks on one causal model in memory: each has its own LoRA adapter, or none; the base weights are there once."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pp_resources.errors import UserError
from pp_resources.models.causal import CausalPredictor, invocation_ids, load_model, load_tokenizer
from pp_resources.models.causal_prompt import Prompt
from pp_resources.models.interface import Prediction


class SharedCausal:
    """The base of predictors that are used in turn. Adapters stay unmerged: the answers are those of a merged one to rounding."""

    def __init__(self, base: Path, device: torch.device | str = "cpu") -> None:
        self.folder, self.base = base, load_model(base, device=device)
        self._tokenizer: Any = None
        self._lock = threading.RLock()
        self._peft: Any = None
        self._active: str | None = None
        self._made = 0

    def bare(self, name: str, schema: Mapping[str, Any], prompt: Prompt, **options: Any) -> "SwitchedPredictor":
        """The base behind a prompt; `options` as those of `CausalPredictor`."""
        self._tokenizer = self._tokenizer or load_tokenizer(self.folder)
        return SwitchedPredictor(self, None, CausalPredictor(name, self.base, self._tokenizer, schema, prompt, **options))

    def add(
        self, name: str, adapter: Path, schema: Mapping[str, Any], prompt: Prompt, *, tokenizer: Path, **options: Any
    ) -> "SwitchedPredictor":
        """A predictor from an adapter folder that was trained on this base; the caller has compared the hashes of the weights. Raises
        UserError when the adapter does not fit."""
        begins = invocation_ids(adapter)
        made = CausalPredictor(name, self.base, load_tokenizer(tokenizer), schema, prompt, activated=bool(begins), **options)
        if begins != made.encoder.invocation_ids:
            raise UserError(
                "the adapter begins at other tokens than this prompt has", where=str(adapter), how="use the task it was trained on"
            )
        with self._lock:
            if begins:
                with self.switched(None):
                    made.keep_prefix()
            return SwitchedPredictor(self, self._load(adapter), made)

    def remove(self, adapter: str) -> None:
        """Let go of an adapter that nobody asks any more."""
        with self._lock:
            self._peft.delete_adapter(adapter)
            self._active = None

    @contextmanager
    def switched(self, adapter: str | None) -> Iterator[None]:
        """One adapter, or none, is on; one block at a time."""
        with self._lock:
            if adapter is None:
                if self._peft is None:
                    yield
                else:
                    with self._peft.disable_adapter():
                        yield
                return
            if adapter != self._active:
                self._peft.set_adapter(adapter, inference_mode=True)
                self._active = adapter
            yield

    def _load(self, folder: Path) -> str:
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        key, self._made = f"task{self._made}", self._made + 1
        config = LoraConfig.from_pretrained(str(folder))
        config.alora_invocation_tokens, config.inference_mode = None, True  # where it begins is the predictor's affair
        stored = load_file(folder / "adapter_model.safetensors")
        try:
            if self._peft is None:
                self._peft = get_peft_model(self.base, config, adapter_name=key)
            else:
                self._peft.add_adapter(key, config)
            set_peft_model_state_dict(self._peft, stored, adapter_name=key)
            odd = stored.keys() ^ get_peft_model_state_dict(self._peft, adapter_name=key).keys()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"the adapter does not fit the base model: {str(error).splitlines()[0]}", where=str(folder)) from error
        if odd:
            raise UserError(f"the adapter does not fit the base model: {len(odd)} weights differ, such as {min(odd)}", where=str(folder))
        self._active = None  # adding may have switched
        return key


class SwitchedPredictor:
    """A causal predictor that has its adapter switched on while it is asked."""

    def __init__(self, shared: SharedCausal, adapter: str | None, inner: CausalPredictor) -> None:
        self.name, self.encoder, self.model, self.tokenizer = inner.name, inner.encoder, inner.model, inner.tokenizer
        self.max_new_tokens = inner.max_new_tokens
        self._shared, self._adapter, self._inner = shared, adapter, inner

    def behind(self, prompt: Prompt) -> "SwitchedPredictor":
        """The same behind another prompt."""
        return SwitchedPredictor(self._shared, self._adapter, self._inner.behind(prompt))

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        with torch.inference_mode(), self._shared.switched(self._adapter):
            return self._inner.predict(inputs, distributions=distributions)

    def unload(self) -> None:
        if self._adapter is not None:
            self._shared.remove(self._adapter)
