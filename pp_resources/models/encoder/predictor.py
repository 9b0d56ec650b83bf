"""A trained encoder as a Predictor: one forward pass an input, an answer that the schema allows."""

import json
import math
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
from pp_resources.models.encoder.tokens import Encoded, collate
from pp_resources.models.encoder.windows import encode_long, token_states
from pp_resources.models.interface import Choice, Prediction, ranked
from pp_resources.progress import steps

HEADS_JSON, HEADS_WEIGHTS = "heads.json", "heads.safetensors"


def has_adapter(folder: Path) -> bool:
    """Whether a trained folder changes the encoder; one that was trained frozen has heads alone."""
    return (folder / "adapter" / "adapter_config.json").exists()


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
        self.place = place_of(schema)
        self.set_heads(heads.heads)

    @classmethod
    def load(
        cls, name: str, folder: Path, base: Path, schema: Mapping[str, Any], *, device: torch.device | str = "cpu"
    ) -> "EncoderPredictor":
        """From an adapter folder (`adapter/`, `tokenizer/`) and the base it was trained on, to `device`."""
        encoder = AutoModel.from_pretrained(base, dtype=torch.float32).to(device)
        if has_adapter(folder):
            from peft import PeftModel

            # Merged: the same answers to rounding, without the cost of two more products a layer.
            encoder = PeftModel.from_pretrained(encoder, folder / "adapter").merge_and_unload()
        return cls.with_encoder(name, folder, encoder, encoder.config.hidden_size, schema)

    @classmethod
    def with_encoder(cls, name: str, folder: Path, encoder: torch.nn.Module, hidden: int, schema: Mapping[str, Any]) -> "EncoderPredictor":
        """The heads and the tokenizer of an adapter folder on an encoder that is loaded already, and where it is; `hidden` is the size of
        its states."""
        settings = json.loads((folder / "adapter" / HEADS_JSON).read_text("utf-8"))
        heads = HeadStack([Head.from_json(h) for h in settings["heads"]], hidden, settings["width"], 0.0, settings["letters"])
        heads.load_state_dict(load_file(folder / "adapter" / HEADS_WEIGHTS))
        words: Any = encoder.get_input_embeddings()  # type: ignore[operator]
        heads.to(words.weight.device)
        return cls(name, encoder, heads, AutoTokenizer.from_pretrained(folder / "tokenizer"), schema, settings["max_tokens"])

    def set_heads(self, heads: Sequence[Head]) -> None:
        """The same ones with other temperatures."""
        self.heads.heads = list(heads)
        self.decoders = [HeadDecoder(head, self.heads.width, self.schema) for head in self.heads.heads]

    def save_heads(self, folder: Path) -> None:
        """Write heads.json and heads.safetensors."""
        letters = self.heads.letters.embedding_dim if self.heads.letters is not None else 0
        heads = [head.to_json() for head in self.heads.heads]
        settings = {"heads": heads, "width": self.heads.width, "letters": letters, "max_tokens": self.max_tokens}
        (folder / HEADS_JSON).write_text(json.dumps(settings, indent=1, ensure_ascii=False) + "\n", "utf-8")
        save_file({k: v.detach().to("cpu", copy=True).contiguous() for k, v in self.heads.state_dict().items()}, folder / HEADS_WEIGHTS)

    @torch.inference_mode()
    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        """One Prediction an input, in order. An input longer than `windows.MAX_WINDOWS` windows of `max_tokens` is cut and says
        `finish_reason` "length". With `distributions` each has the `choices` of its fields with listed values."""
        self.encoder.eval()
        self.heads.eval()
        rows = encode_long(self.tokenizer, inputs, self.max_tokens) if inputs else []
        out: list[Prediction | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        with steps("answering", -(-len(order) // self.batch_size)) as advance:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                began = time.perf_counter()
                some = [rows[i] for i in chosen]
                logits = self._logits(some)
                answers = self.decode(logits, some, [inputs[i] for i in chosen])
                choices = self._choices(logits, len(chosen)) if distributions else [{}] * len(chosen)
                latency = (time.perf_counter() - began) * 1000 / len(chosen)
                for i, (values, fields), among in zip(chosen, answers, choices):
                    ended = "length" if rows[i].truncated else "stop"
                    out[i] = Prediction(self.text_of(values), self.confidence(fields), fields, len(rows[i].ids), 0, latency, ended, among)
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

    def confidence(self, fields: Mapping[str, float]) -> float:
        """Of the whole object: that every field is right, as if their errors had nothing to do with each other."""
        return math.prod(fields.values())

    def text_of(self, values: Mapping[str, Any]) -> str:
        """The JSON text of an answer given by its fields."""
        return dump_output(self.schema, assemble(self.place, values))

    def _choices(self, logits: Sequence[Tensor], rows: int) -> list[dict[str, list[Choice]]]:
        out: list[dict[str, list[Choice]]] = [{} for _ in range(rows)]
        for head, scores in zip(self.heads.heads, logits):
            if head.kind == "flags" or (head.kind == "choice" and len(head.values) > 1):
                chances = (scores / head.label_temperature).sigmoid() if head.listing else (scores / head.temperature).softmax(-1)
                for among, row in zip(out, chances.tolist()):
                    among[head.path] = ranked(head.values, row)
        return out

    def _logits(self, rows: Sequence[Encoded]) -> list[Tensor]:
        pad_id = self.tokenizer.pad_token_id or 0
        batch = collate(rows, pad_id, self.heads.device)
        return self.heads(token_states(lambda part: self.heads.states(self.encoder, part), rows, batch, pad_id, self.max_tokens), batch)
