"""Every family trained, killed, resumed and asked on a device, small enough for a test: on the second device and on CUDA devices alike."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from architectures import write_architecture
from causal_tiny import examples, spec_on, write_tiny_base
from test_encoder_tokens import tiny_encoder

from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_assets.training import encoder, loop, run
from pp_assets.training.causal import CausalRun
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import RECIPES, Recipe
from pp_resources.models import causal

# A head of each kind: choice, flags, span, value, tags, items.
OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "order", "count", "things", "topics", "parts"],
    "properties": {
        "intent": {"enum": ["refund", "where"]},
        "order": {"type": ["string", "null"]},
        "count": {"type": ["integer", "null"]},
        "things": {"type": "array", "items": {"type": "string"}},
        "topics": {"type": "array", "items": {"enum": ["money", "time"]}},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "mood"],
                "properties": {"name": {"type": "string"}, "mood": {"enum": ["good", "bad"]}},
            },
        },
    },
}
FAMILIES = ("lora", "activated", "gemma2", "mistral", "encoder", "windows", "frozen")


class Killed(Exception):
    pass


@dataclass(frozen=True)
class Trained:
    """What one training came to: losses by epoch, digest of the weights at the start and at the end, answers to unseen texts."""

    losses: list[float]
    initial: str
    weights: str
    device: str
    attention: str
    answers: list[str]
    confidences: list[float]


def trained(family: str, folder: Path, device: str, *, bf16: bool | None = None, killed_at: int = 0, asked_on: str = "") -> Trained:
    """Train `family` under `folder` on `device`, in `bf16` as the device has it or as told; after a kill before step `killed_at` go on.
    Then ask it on `asked_on`, or where it was trained. What was trained before is only asked."""
    new, spec, texts = _of(family, folder)
    out, work = folder / f"{family}-{device}-{bf16}-{killed_at}", folder / "work"
    with patch.object(run, "has_bf16", lambda _device: bf16) if bf16 is not None else nullcontext():
        if killed_at:
            with _dying(killed_at), suppress(Killed):
                loop.train(new(device), out, work=work)
            assert list(work.glob("step-*"))
            torch.manual_seed(12345)
        if not (out / "training.json").exists():
            loop.train(new(device), out, work=work)
    record = json.loads((out / "training.json").read_text("utf-8"))
    weights = b"".join(file.read_bytes() for file in sorted((out / "adapter").glob("*.safetensors")))
    said = load_predictor(out, spec, 1, asked_on or device).predict(texts, distributions=True)
    return Trained(
        losses=[loss for entry in record["history"] for loss in (entry["train_loss"], entry["val_loss"])],
        initial=record["initial_adapter_sha256"],
        weights=hashlib.sha256(weights).hexdigest(),
        device=record["device"],
        attention=record["attention"],
        answers=[answer.text for answer in said],
        confidences=[answer.confidence or 0.0 for answer in said],
    )


def without_sharing(folder: Path, device: str) -> list[str]:
    """Answers of a base whose rows cannot share a prefix."""
    base = _base("lora", folder)
    with patch.object(causal, "shares_prefix", lambda _model: False):
        model = causal.load_model(base, device=device)
        spec = spec_on(base)
        made = causal.CausalPredictor("x", model, causal.load_tokenizer(base), spec.output_schema, _prompt(spec), max_new_tokens=40)
        return [answer.text for answer in made.predict([row.input_text for row in examples(2, 3)])]


def _of(family: str, folder: Path) -> tuple[Callable[[str], Any], TaskSpec, list[str]]:
    if family in ("encoder", "windows", "frozen"):
        base = folder / "encoder"
        spec = _encoder_spec(base if base.exists() else tiny_encoder(base))
        times = 40 if family == "windows" else 1
        rows, val, new = [_row(i, times) for i in range(8)], [_row(i, times) for i in range(8, 11)], [_row(i, times) for i in range(11, 14)]
        recipe = _shorter("encoder-frozen" if family == "frozen" else "encoder-lora")
        # The processor's fused kernel rounds otherwise, and starts would not be equal to the bit.
        encoder.FUSED_FROM = 10**9
        return lambda device: encoder.EncoderRun(spec, recipe, rows, val, 0, 1, device), spec, [row.input_text for row in new]
    spec = spec_on(_base(family, folder))
    recipe = _shorter(
        "alora-r16" if family == "activated" else "lora-r8", **{"dropout": 0.1, "epochs": 1} if family in ("gemma2", "mistral") else {}
    )
    rows, val, new = examples(8), examples(3, 1), examples(3, 2)
    return lambda device: CausalRun(spec, recipe, rows, val, 0, 1, device), spec, [row.input_text for row in new]


def _base(family: str, folder: Path) -> Path:
    base = folder / f"base-{family if family in ('gemma2', 'mistral') else 'llama'}"
    if base.exists():
        return base
    return write_architecture(base, family) if family in ("gemma2", "mistral") else write_tiny_base(base)


def _shorter(variant: str, **changes: Any) -> Recipe:
    recipe = RECIPES[variant]
    return replace(recipe, params=replace(recipe.params, **{"epochs": 2, "batch_size": 4, "average": 1.0, **changes}))


def _prompt(spec: TaskSpec) -> Any:
    from pp_assets.task.causal_prompt import prompt_of

    return prompt_of(spec)


def _encoder_spec(base: Path) -> TaskSpec:
    raw = {"name": "toy", "encoder_model_id": str(base), "instruction_template": "{{ input_text }}", "io_schema": {"output": OUTPUT}}
    return parse_spec(raw, "toy")


def _row(i: int, times: int) -> Example:
    """`times` makes it longer than one window of the encoder."""
    thing, order, where = ("tea pot", "lid", "red pot")[i % 3], f"a{i}" if i % 4 else None, i % 2 == 0
    asked = "where is" if where else "refund"
    text = f"{asked} my {thing}{f' from order {order}' if order else ''}, i have {i + 2}" + " please look at it now" * (times - 1)
    output = {
        "intent": "where" if where else "refund",
        "order": order,
        "count": i + 2,
        "things": [thing],
        "topics": ["time" if where else "money"],
        "parts": [{"name": thing, "mood": "good" if where else "bad"}],
    }
    return Example(f"{i:016x}", text, output)


@contextmanager
def _dying(at: int) -> Iterator[None]:
    """A checkpoint after each step, and an end before step `at`."""
    step = run.Run.step

    def counted(self: run.Run, batch: Any, number: int) -> tuple[float, int]:
        if number == at:
            raise Killed
        return step(self, batch, number)

    with patch.object(run.Run, "step", counted), patch.object(loop, "CHECKPOINT_SECONDS", -1.0):
        yield
