"""LoRA on a causal language model."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pp_assets.evaluation.outputs import right
from pp_assets.task.examples import Example
from pp_assets.task.prompt import Shot, split_prompt
from pp_assets.task.spec import TaskSpec
from pp_assets.training.causal_batches import epoch_batches, loss_of
from pp_assets.training.hardware import has_bf16
from pp_assets.training.labels import LabelReport, Row, encode_rows, label_report
from pp_assets.training.params import CausalParams
from pp_assets.training.recipes import Recipe
from pp_assets.training.run import Run, save_adapter, save_record
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
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


class CausalRun(Run):
    """Raises UserError when rows cannot be trained on, and when writing an adapter that turns out to have no effect."""

    def __init__(self, spec: TaskSpec, recipe: Recipe, train: list[Example], val: list[Example], seed: int, threads: int) -> None:
        if not isinstance(recipe.params, CausalParams):
            raise UserError(f"variant {recipe.name!r} is not a causal one", where="variants", how="use a lora- variant")
        super().__init__(spec, recipe, seed, threads)
        self.params = recipe.params
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

    def _attach(self, base: Any) -> None:
        from peft import LoraConfig, get_peft_model

        p = self.params
        # The adapter's random start is drawn below: seeding later, as trainers do, would make it differ from run to run.
        torch.manual_seed(self.seed)
        config = LoraConfig(r=p.r, lora_alpha=p.alpha, lora_dropout=p.dropout, target_modules=p.targets, bias="none", task_type="CAUSAL_LM")
        self.model = get_peft_model(base, config)
        self.weights = {name: w for name, w in self.model.named_parameters() if w.requires_grad}
        self.initial_sha256 = self.weights_sha256()
        self.optimizer = torch.optim.AdamW([{"params": list(self.weights.values()), "peak": p.lr}], lr=p.lr, weight_decay=p.weight_decay)
        self.epochs, self.steps_per_epoch = p.epochs, len(self.batches(0))

    def batches(self, epoch: int) -> list[list[Row]]:
        return epoch_batches(self.rows, self.params.batch_size, self.seed, epoch)

    def loss(self, batch: Sequence[Row]) -> tuple[Tensor, int]:
        self.model.train()
        return self._loss(batch)

    def _loss(self, batch: Sequence[Row]) -> tuple[Tensor, int]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16 and self.model.device.type == "cpu"):
            return loss_of(self.model, self.predictor.encoder.prefix_ids, batch, self.pad_id)

    def evaluate(self) -> dict[str, float]:
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

    @cached_property
    def identity(self) -> str:
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
        effect = self.effect()
        folder = out / "adapter"
        folder.mkdir(parents=True, exist_ok=True)
        save_adapter(self.model, self.spec.base_model_id, folder)
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
        save_record(out, record)
