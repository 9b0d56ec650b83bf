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

from pp_assets.task.causal_prompt import golden_prompt, prompt_of
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_assets.training.causal_attention import NAME
from pp_assets.training.causal_batches import SharedPrefix, answer_logits, epoch_batches, keep_prefix, loss_of
from pp_assets.training.labels import LabelReport, Row, encode_rows, label_report, refuse_outside_grammar
from pp_assets.training.lora_linear import with_lora
from pp_assets.training.merging import shares_after_merging
from pp_assets.training.params import CausalParams
from pp_assets.training.recipes import Recipe
from pp_assets.training.run import Run, save_adapter, save_record
from pp_resources.device import described
from pp_resources.errors import UserError
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.causal import CausalPredictor, context_length, load_model, load_tokenizer
from pp_resources.models.causal_plain import shares_prefix

VAL_LIMIT = 200  # rows that are decoded after an epoch; more would cost more than the epoch
PROBES = 4
MERGED_SHARE = 0.9  # of an adapter's change of the logits, must survive in the 32-bit merge that predictions are made with


class CausalRun(Run):
    """Raises UserError when rows cannot be trained on, and when writing an adapter that turns out to have no effect."""

    def __init__(
        self,
        spec: TaskSpec,
        recipe: Recipe,
        train: list[Example],
        val: list[Example],
        seed: int,
        threads: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(recipe.params, CausalParams):
            raise UserError(f"variant {recipe.name!r} is not a causal one", where="variants", how="use a lora- variant")
        super().__init__(spec, recipe, seed, threads, device)
        self.params = p = recipe.params
        self.where = f"variant {recipe.name}"
        self.base = find_base(spec.base_model_id)
        self.tokenizer = load_tokenizer(self.base)
        self.pad_id = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        base = load_model(self.base, device=device)
        schema, prompt = spec.io_schema.output, prompt_of(spec)
        options = {"constrained": spec.decoding.constrained, "activated": p.activated}
        self.predictor = CausalPredictor(recipe.name, base, self.tokenizer, schema, prompt, **options)
        encoder = self.predictor.encoder
        self.rows = encode_rows(spec, encoder, train, context_length(base.config))
        self.val = val[:VAL_LIMIT]
        self.val_rows = encode_rows(spec, encoder, self.val, context_length(base.config))
        if self.predictor.grammar:
            refuse_outside_grammar(self.predictor.grammar, [*self.rows, *self.val_rows], [*train, *self.val])
        self.labels: LabelReport = label_report(encoder, self.rows)
        self.predictor.max_new_tokens = spec.decoding.max_new_tokens or self.labels.max_new_tokens
        self.prefix = self._prefix_of(base)
        # The adapter's random start is drawn below: seeding later, as trainers do, would make it differ from run to run.
        torch.manual_seed(seed)
        self.model = with_lora(base, p, self.where)
        self.weights = {name: w for name, w in self.model.named_parameters() if w.requires_grad}
        self.initial_sha256 = self.weights_sha256()
        groups = [{"params": list(self.weights.values()), "peak": p.lr}]
        self.optimizer = torch.optim.AdamW(groups, lr=p.lr, weight_decay=p.weight_decay, fused=True)
        self.epochs, self.steps_per_epoch = p.epochs, len(self.batches(0))

    def _prefix_of(self, base: Any) -> SharedPrefix:
        """What the rows share; of an activated adapter, computed with the base for good."""
        ids = self.predictor.encoder.prefix_ids
        if not self.params.activated:
            return SharedPrefix(ids, shared=bool(ids) and shares_prefix(base))
        if not ids or not shares_prefix(base):
            why = "the model cannot share a prefix between rows" if ids else "the prompt has no text before its input"
            raise UserError(f"nothing can stay with the base: {why}", where=self.where, how="use a lora- variant that is not activated")
        self.predictor.keep_prefix()
        return keep_prefix(base, ids)

    def _autocast(self, model: Any) -> torch.autocast:
        return torch.autocast(model.device.type, torch.bfloat16, enabled=self.bf16)

    def batches(self, epoch: int) -> list[list[Row]]:
        return epoch_batches(self.rows, self.params.batch_size, self.seed, epoch)

    def backward(self, batch: Sequence[Row]) -> tuple[float, int]:
        total, tokens = 0.0, sum(len(row.answer) for row in batch)
        for start in range(0, len(batch), size := -(-len(batch) // self.params.accumulate)):
            loss, count = self.loss(batch[start : start + size])
            # By trained tokens: a mean of the parts' means would weigh short answers more.
            (loss * (count / tokens)).backward()
            total += loss.item() * count
        return total / tokens, tokens

    def loss(self, batch: Sequence[Row]) -> tuple[Tensor, int]:
        self.model.train()
        with self._autocast(self.model):
            return loss_of(self.model, self.prefix, batch, self.pad_id)

    def evaluate(self) -> dict[str, float]:
        self.model.eval()
        self.predictor.forget_prefix()
        answers = self.predictor.predict([example.input_text for example in self.val])
        total = tokens = 0.0
        with torch.inference_mode(), self._autocast(self.model):
            for start in range(0, len(self.val_rows), self.params.batch_size):
                loss, count = loss_of(self.model, self.prefix, self.val_rows[start : start + self.params.batch_size], self.pad_id)
                total, tokens = total + loss.item() * count, tokens + count
        return {**self.scores([answer.text for answer in answers]), "val_loss": total / tokens}

    @cached_property
    def identity(self) -> str:
        rows = [(row.item_id, row.suffix, row.answer) for row in (*self.rows, *self.val_rows)]
        parts = [
            asdict(self.params),
            self.spec.primary_metric.name,
            self.seed,
            self.threads,
            described(self.device),
            self.bf16,
            weights_sha256(self.base),
            self.predictor.encoder.prefix_ids,
            rows,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @torch.inference_mode()
    def effect(self) -> dict[str, Any]:
        """Proof that the trained adapter changes what the base says, on a few rows: with the adapter, without it, and merged into base
        weights of each precision. Raises UserError when there is no change, or none is left by merging in 32 bit."""
        self.model.eval()
        rows = (self.val_rows or self.rows)[:PROBES]

        def logits() -> Tensor:
            return answer_logits(self.model, self.prefix, rows, self.pad_id).float()

        with self.model.disable_adapter():
            plain = logits()
        delta = float((logits() - plain).abs().max())
        if delta == 0.0:
            raise UserError(
                "the adapter has no effect on the base model's logits", where=self.where, how="check params.targets and the learning rate"
            )
        shares = {} if self.params.activated else shares_after_merging(self.model, logits)
        if shares and shares["float32"] < MERGED_SHARE:
            raise UserError(
                f"the adapter is so small that merging rounds it away ({shares['float32']:.0%} of its effect is left)",
                where=self.where,
                how="use a higher learning rate or more epochs",
            )
        return {"probes": len(rows), "max_logit_change": delta, "left_after_merging": shares}

    def write(self, out: Path, summary: dict[str, Any]) -> None:
        effect = self.effect()
        folder = out / "adapter"
        folder.mkdir(parents=True, exist_ok=True)
        save_adapter(self.model, self.spec.base_model_id, folder, alora_invocation_tokens=self.predictor.encoder.invocation_ids or None)
        self.tokenizer.save_pretrained(out / "tokenizer")
        record = {
            "family": "causal",
            "variant": self.recipe.name,
            "params": asdict(self.params),
            "seed": self.seed,
            "threads": self.threads,
            "device": described(self.device),
            "bf16_autocast": self.bf16,
            "attention": NAME if self.prefix.shared else "sdpa",
            "base_model_id": self.spec.base_model_id,
            "base_weights_sha256": weights_sha256(self.base),
            "initial_adapter_sha256": self.initial_sha256,
            "trainable_parameters": self.trainable,
            "train_rows": len(self.rows),
            "val_rows": len(self.val_rows),
            "max_new_tokens": self.predictor.max_new_tokens,
            "golden_prompt": golden_prompt(self.predictor.encoder),
            "labels": self.labels.as_dict(),
            "effect": effect,
            **summary,
        }
        save_record(out, record)
