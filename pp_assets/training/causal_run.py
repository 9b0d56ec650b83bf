"""Model, rows and optimiser of one causal training: what one step does, how it is judged, what is written."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.task.examples import Example
from pp_assets.task.prompt import Shot, split_prompt
from pp_assets.task.spec import TaskSpec
from pp_assets.training.causal_batches import epoch_batches, loss_of
from pp_assets.training.hardware import has_bf16
from pp_assets.training.labels import LabelReport, Row, encode_rows, label_report
from pp_assets.training.params import CausalParams
from pp_assets.training.recipes import Recipe
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output, leaf_fields
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.causal import CausalPredictor, context_length, load_model, load_tokenizer
from pp_resources.models.causal_prompt import Prompt

VAL_LIMIT = 200  # rows that are decoded after an epoch; more would cost more than the epoch
PROBES = 4
# Eager attention beats the fused kernel on the CPU for short sequences (29 % of a step); longer ones were not measured.
EAGER_UP_TO = 512


def prompt_of(spec: TaskSpec, examples: Sequence[Shot] = ()) -> Prompt:
    """The prompt of a task for a causal model, with few-shot examples where given."""
    return Prompt(spec.system_prompt, *split_prompt(spec, examples))


class CausalRun:
    """Model, rows and optimiser of one training."""

    def __init__(self, spec: TaskSpec, recipe: Recipe, train: list[Example], val: list[Example], seed: int, threads: int) -> None:
        if not isinstance(recipe.params, CausalParams):
            raise UserError(f"variant {recipe.name!r} is not a causal one", where="variants", how="use a lora- variant")
        torch.set_num_threads(threads)
        self.spec, self.recipe, self.params, self.seed, self.threads = spec, recipe, recipe.params, seed, threads
        self.base = find_base(spec.base_model_id)
        self.tokenizer = load_tokenizer(self.base)
        self.pad_id = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        base = load_model(self.base, attention="eager")
        self.predictor = CausalPredictor(recipe.name, base, self.tokenizer, spec.io_schema.output, prompt_of(spec), constrained=True)
        encoder = self.predictor.encoder
        self.rows = encode_rows(spec, encoder, train, context_length(base))
        self.val = val[:VAL_LIMIT]
        self.val_rows = encode_rows(spec, encoder, self.val, context_length(base))
        self.labels: LabelReport = label_report(encoder, self.rows, self.predictor.grammar)
        self.predictor.max_new_tokens = spec.decoding.max_new_tokens or self.labels.max_new_tokens
        self.attention = "eager" if self.labels.longest_row <= EAGER_UP_TO else "sdpa"
        base.set_attn_implementation(self.attention)
        self.bf16 = has_bf16()
        self.probes = [example.input_text for example in (val or train)[:PROBES]]
        self.before = self._probe()
        self._attach(base)
        self.reader = OutputReader(
            spec.io_schema.output, {leaf.path: spec.compare(leaf.path) for leaf in leaf_fields(spec.io_schema.output)}
        )

    def _attach(self, base: Any) -> None:
        from peft import LoraConfig, get_peft_model

        p = self.params
        # The adapter's random start is drawn below: seeding later, as trainers do, would make it differ from run to run.
        torch.manual_seed(self.seed)
        config = LoraConfig(r=p.r, lora_alpha=p.alpha, lora_dropout=p.dropout, target_modules=p.targets, bias="none", task_type="CAUSAL_LM")
        self.model = get_peft_model(base, config)
        self.weights = {name: w for name, w in self.model.named_parameters() if w.requires_grad}
        self.trainable = sum(w.numel() for w in self.weights.values())
        self.initial_sha256 = _hash(self.tensors())
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=p.lr, weight_decay=p.weight_decay)
        self.steps_per_epoch = len(self.batches(0))

    def batches(self, epoch: int) -> list[list[Row]]:
        return epoch_batches(self.rows, self.params.batch_size, self.seed, epoch)

    def step(self, batch: Sequence[Row], step: int) -> tuple[float, int]:
        """One optimiser step; (loss, trained tokens)."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.params.lr * self.schedule(step)
        loss, count = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(f"the loss is {value} at step {step + 1}", where=f"variant {self.recipe.name}", how="use a lower learning rate")
        return value, count

    def schedule(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then a cosine to 0 over all epochs (so that early stopping does not change it)."""
        total = self.params.epochs * self.steps_per_epoch
        warmup = max(1, round(self.params.warmup * total))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def _loss(self, batch: Sequence[Row]) -> tuple[Tensor, int]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16 and self.model.device.type == "cpu"):
            return loss_of(self.model, self.predictor.encoder.prefix_ids, batch, self.pad_id)

    def evaluate(self) -> dict[str, float]:
        """Whole-object match of constrained answers (the evaluator's own rule) and token-normalised loss on the validation rows."""
        self.model.eval()
        self.predictor.forget_prefix()
        base = self.predictor.model
        base.set_attn_implementation("sdpa")  # faster where nothing is differentiated
        answers = self.predictor.predict([example.input_text for example in self.val])
        base.set_attn_implementation(self.attention)
        hits = 0
        for example, answer in zip(self.val, answers, strict=True):
            expected = self.reader.read(dump_output(self.spec.io_schema.output, example.output))
            hits += right(self.reader.read(answer.text), expected)
        total = tokens = 0.0
        with torch.inference_mode():
            for start in range(0, len(self.val_rows), self.params.batch_size):
                loss, count = self._loss(self.val_rows[start : start + self.params.batch_size])
                total, tokens = total + loss.item() * count, tokens + count
        return {"val_object_exact_match": hits / len(self.val), "val_loss": total / tokens}

    def tensors(self) -> dict[str, Tensor]:
        return {name: w.detach().clone() for name, w in self.weights.items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in tensors.items():
                self.weights[name].copy_(value)

    @cached_property
    def identity(self) -> str:
        """What makes a checkpoint one of this very run."""
        rows = [(row.item_id, row.suffix, row.answer) for row in (*self.rows, *self.val_rows)]
        parts = [
            asdict(self.params),
            self.seed,
            self.threads,
            self.bf16,
            weights_sha256(self.base),
            self.predictor.encoder.prefix_ids,
            rows,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _probe(self) -> tuple[list[str], Tensor]:
        """Answers and last-position logits on the probe inputs."""
        self.predictor.forget_prefix()
        encoder = self.predictor.encoder
        with torch.inference_mode():
            ids = [torch.tensor([encoder.prefix_ids + encoder.suffix_ids(text)]) for text in self.probes]
            logits = torch.stack(
                [self.predictor.model(input_ids=i.to(self.predictor.model.device), logits_to_keep=1).logits[0, -1].float() for i in ids]
            )
        return [p.text for p in self.predictor.predict(self.probes)], logits

    def effect(self) -> dict[str, Any]:
        """Proof that the trained adapter changes what the base says, on a few probe prompts. Raises UserError when it does not."""
        self.model.eval()
        texts, logits = self._probe()
        delta = float((logits - self.before[1]).abs().max())
        if delta == 0.0:
            raise UserError(
                "the adapter has no effect on the base model's logits",
                where=f"variant {self.recipe.name}",
                how="check params.targets and the learning rate",
            )
        changed = sum(a != b for a, b in zip(texts, self.before[0], strict=True))
        return {"probes": len(texts), "answers_changed": changed, "max_logit_change": delta}

    def write(self, out: Path, summary: dict[str, Any]) -> None:
        """adapter/, tokenizer/, training.json, metrics.jsonl: nothing in them depends on the time or the place of the run."""
        effect = self.effect()
        folder = out / "adapter"
        folder.mkdir(parents=True, exist_ok=True)
        from peft.utils import get_peft_model_state_dict

        save_file(
            {k: v.detach().clone().contiguous() for k, v in get_peft_model_state_dict(self.model).items()},
            folder / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        config = self.model.peft_config["default"].to_dict() | {"base_model_name_or_path": self.spec.base_model_id, "inference_mode": True}
        config["target_modules"] = sorted(config["target_modules"])
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True, default=sorted) + "\n")
        self.tokenizer.save_pretrained(out / "tokenizer")
        record = {
            "family": "causal",
            "variant": self.recipe.name,
            "params": asdict(self.params),
            "seed": self.seed,
            "threads": self.threads,
            "bf16_autocast": self.bf16,
            "attention": self.attention,
            "base_model_id": self.spec.base_model_id,
            "base_weights_sha256": weights_sha256(self.base),
            "initial_adapter_sha256": self.initial_sha256,
            "trainable_parameters": self.trainable,
            "train_rows": len(self.rows),
            "val_rows": len(self.val_rows),
            "max_new_tokens": self.predictor.max_new_tokens,
            "labels": self.labels.as_dict(),
            "effect": effect,
            **summary,
        }
        (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
        (out / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in summary["history"]))


def _hash(tensors: dict[str, Tensor]) -> str:
    seen = hashlib.sha256()
    for name in sorted(tensors):
        seen.update(name.encode() + tensors[name].numpy().tobytes())
    return seen.hexdigest()
