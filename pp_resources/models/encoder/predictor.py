"""A trained encoder as a Predictor: one forward pass an input, an answer that the schema allows."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from pp_resources.json_schema import dump_output
from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.decode import HeadDecoder
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.objects import assemble, place_of
from pp_resources.models.encoder.tokens import Encoded, collate, encode
from pp_resources.models.interface import Prediction
from pp_resources.progress import steps

HEADS_JSON, HEADS_WEIGHTS = "heads.json", "heads.safetensors"


class EncoderPredictor:
    """Predicts with `encoder` and `heads`; texts are batched by length, in fp32, so that answers do not depend on their neighbours."""

    def __init__(
        self,
        name: str,
        encoder: torch.nn.Module,
        heads: HeadStack,
        tokenizer: Any,
        schema: Mapping[str, Any],
        max_tokens: int,
        batch_size: int = 32,
    ) -> None:
        self.name, self.encoder, self.heads, self.tokenizer = name, encoder, heads, tokenizer
        self.schema, self.max_tokens, self.batch_size = schema, max_tokens, batch_size
        self.decoders = [HeadDecoder(head, heads.width, schema) for head in heads.heads]
        self.place = place_of(schema)

    @classmethod
    def load(cls, name: str, folder: Path, base: Path, schema: Mapping[str, Any]) -> "EncoderPredictor":
        """From an adapter folder (`adapter/`, `tokenizer/`) and the base it was trained on."""
        settings = json.loads((folder / "adapter" / HEADS_JSON).read_text("utf-8"))
        encoder = AutoModel.from_pretrained(base, dtype=torch.float32)
        if (folder / "adapter" / "adapter_config.json").exists():
            from peft import PeftModel

            # Merged: the same answers to rounding, without the cost of two more products a layer.
            encoder = PeftModel.from_pretrained(encoder, folder / "adapter").merge_and_unload()
        heads = HeadStack([Head.from_json(h) for h in settings["heads"]], encoder.config.hidden_size, settings["width"], 0.0)
        heads.load_state_dict(load_file(folder / "adapter" / HEADS_WEIGHTS))
        return cls(name, encoder, heads, AutoTokenizer.from_pretrained(folder / "tokenizer"), schema, settings["max_tokens"])

    def save_heads(self, folder: Path) -> None:
        """Write heads.json and heads.safetensors."""
        settings = {"heads": [h.to_json() for h in self.heads.heads], "width": self.heads.width, "max_tokens": self.max_tokens}
        (folder / HEADS_JSON).write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", "utf-8")
        save_file({k: v.detach().clone().contiguous() for k, v in self.heads.state_dict().items()}, folder / HEADS_WEIGHTS)

    @torch.inference_mode()
    def predict(self, inputs: Sequence[str]) -> list[Prediction]:
        """One Prediction an input, in order. An input longer than the model reads is cut and says `finish_reason` "length"."""
        self.encoder.eval()
        self.heads.eval()
        rows = encode(self.tokenizer, inputs, self.max_tokens) if inputs else []
        out: list[Prediction | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        with steps("answering", -(-len(order) // self.batch_size)) as advance:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                began = time.perf_counter()
                some = [rows[i] for i in chosen]
                answers = self.decode(self._logits(some), some, [inputs[i] for i in chosen])
                latency = (time.perf_counter() - began) * 1000 / len(chosen)
                for i, (values, fields) in zip(chosen, answers):
                    confidence = 1.0
                    for p in fields.values():
                        confidence *= p
                    out[i] = Prediction(
                        self.text_of(values), confidence, fields, len(rows[i].ids), 0, latency, "length" if rows[i].truncated else "stop"
                    )
                advance("")
        return [p for p in out if p is not None]

    def decode(
        self, logits: Sequence[Tensor], rows: Sequence[Encoded], texts: Sequence[str]
    ) -> list[tuple[dict[str, Any], dict[str, float]]]:
        """From the heads' logits, per row and by path of the field: values and probabilities."""
        answers: list[tuple[dict[str, Any], dict[str, float]]] = [({}, {}) for _ in rows]
        for head, decoder, scores in zip(self.heads.heads, self.decoders, logits):
            for (values, fields), (value, p) in zip(answers, decoder.decode(scores, rows, texts)):
                values[head.path], fields[head.path] = value, p
        return answers

    def text_of(self, values: Mapping[str, Any]) -> str:
        """The JSON text of an answer given by its fields."""
        return dump_output(self.schema, assemble(self.place, values))

    def _logits(self, rows: Sequence[Encoded]) -> list[Tensor]:
        batch = collate(rows, self.tokenizer.pad_token_id or 0)
        return self.heads(self.encoder(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state, batch)
