"""Many tasks on one encoder in memory: each has its own LoRA adapter and heads, the base weights are there once."""

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from pp_resources.models.encoder.predictor import EncoderPredictor, has_adapter


class SharedEncoder:
    """The base of `EncoderPredictor`s that are used in turn. Adapters stay unmerged: the answers are those of a merged one to rounding, and
    cost two small products a layer more."""

    def __init__(self, base: Path, device: torch.device | str = "cpu") -> None:
        self.base = AutoModel.from_pretrained(base, dtype=torch.float32).eval().to(device)
        self.lock = threading.Lock()
        self._peft: Any = None
        self._made = 0
        self._active: str | None = None

    def add(self, name: str, folder: Path, schema: Mapping[str, Any]) -> EncoderPredictor:
        """A predictor from an adapter folder that was trained on this base; the caller has compared the hashes of the weights."""
        with self.lock:
            adapter = self._load(folder / "adapter") if has_adapter(folder) else None
        return EncoderPredictor.with_encoder(name, folder, _Adapted(self, adapter), self.base.config.hidden_size, schema)

    def remove(self, adapter: str) -> None:
        """Let go of an adapter that nobody asks any more."""
        with self.lock:
            self._peft.delete_adapter(adapter)
            self._active = None

    def states(self, adapter: str | None, **inputs: torch.Tensor) -> Any:
        """What the base with one adapter, or with none, makes of a batch. One call at a time: the base knows one adapter that is on."""
        with self.lock:
            if adapter is None:
                with self._peft.disable_adapter() if self._peft else nullcontext():
                    return self.base(**inputs)
            if adapter != self._active:
                self._peft.set_adapter(adapter, inference_mode=True)
                self._active = adapter
            return self.base(**inputs)

    def _load(self, folder: Path) -> str:
        from peft import PeftModel

        adapter, self._made = f"task{self._made}", self._made + 1
        if self._peft is None:
            self._peft = PeftModel.from_pretrained(self.base, folder, adapter_name=adapter)
            self._active = adapter
            return adapter
        self._peft.load_adapter(folder, adapter)
        self._active = None  # loading may have switched
        return adapter


class _Adapted(torch.nn.Module):
    """One adapter of a shared encoder, called like a model of its own."""

    def __init__(self, shared: SharedEncoder, adapter: str | None) -> None:
        super().__init__()
        self._shared, self._adapter = shared, adapter

    def unload(self) -> None:
        if self._adapter is not None:
            self._shared.remove(self._adapter)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self._shared.base.get_input_embeddings()  # type: ignore[no-any-return]

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self._shared.states(self._adapter, **inputs)
