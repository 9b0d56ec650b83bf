"""LoRA on a sentence encoder together with the heads of the output schema."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from pp_assets.evaluation.outputs import right
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_assets.training.calibrate import Judged, calibrate
from pp_assets.training.encoder_rows import encode_rows, label_report, make_batches, span_width
from pp_assets.training.lora_linear import fuse
from pp_assets.training.params import EncoderParams
from pp_assets.training.recipes import Recipe
from pp_assets.training.run import Run, save_adapter, save_record
from pp_assets.training.start import start_heads
from pp_assets.training.supcon import supcon_loss
from pp_resources.device import described
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.encoder.compile import compile_schema
from pp_resources.models.encoder.conventions import learn
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.targets import head_loss, span_loss
from pp_resources.models.encoder.tokens import Batch, Encoded, collate
from pp_resources.models.encoder.windows import token_states

CACHED_BYTES = 2 * 2**30  # of a frozen encoder's states
# By the names that configurations have. Masks of both are 45 % of a step on the CPU, those of hidden states alone 8 to 13 %.
HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "mlp_dropout", "embedding_dropout")
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")
# Tokens of a row, on average, from which on the fused attention is faster: on one thread a step takes 0.99 of the time at 144 tokens, 0.82
# at 234, 0.62 in windows of 500; for short rows its backward is slow.
FUSED_FROM = 192
FEW = 32  # rows a class: with fewer the classes are held together by a contrastive loss


class EncoderRun(Run):
    """Raises UserError when the schema cannot be compiled to heads, or a field has no row to learn from."""

    def __init__(
        self,
        spec: TaskSpec,
        recipe: Recipe,
        rows: Sequence[Example],
        val: Sequence[Example],
        seed: int,
        threads: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(recipe.params, EncoderParams):
            raise UserError(f"variant {recipe.name!r} is not an encoder one", where="variants", how="use encoder-lora")
        super().__init__(spec, recipe, seed, threads, device)
        self.params = recipe.params
        self.base = find_base(spec.encoder_model_id)
        self.tokenizer = AutoTokenizer.from_pretrained(self.base)
        self.plan = learn(compile_schema(spec.io_schema.output), [(row.input_text, row.output) for row in rows])
        self.rows, self.targets = encode_rows(self.tokenizer, self.plan, rows, self._max_tokens)
        self.val = list(val)
        self.val_rows, self.val_targets = encode_rows(self.tokenizer, self.plan, self.val, self._max_tokens)
        self.labels = label_report(self.plan, self.rows, self.targets)
        few = [k for k, head in enumerate(self.plan) if head.kind == "choice" and len(self.rows) < FEW * len(head.values)]
        self.contrasted = few if self.params.contrast and not self.frozen else []
        width = span_width(self.labels["longest_span_tokens"])
        # Random starts are drawn from here on: seeding later, as trainers do, would make them differ from run to run.
        torch.manual_seed(seed)
        # Elsewhere than on the processor the kernel of the device, where the architecture can use it.
        plain = self.device.type == "cpu" and sum(len(row.ids) for row in self.rows) < FUSED_FROM * len(self.rows)
        config = AutoConfig.from_pretrained(self.base, attn_implementation="eager" if plain else None)
        for names, share in ((HIDDEN_DROPOUT, self.params.hidden_dropout), (ATTENTION_DROPOUT, 0.0)):
            for name in filter(partial(hasattr, config), names):
                setattr(config, name, share)
        encoder = AutoModel.from_pretrained(self.base, dtype=torch.float32, config=config).to(device)
        self.encoder, self.attention = self._with_lora(encoder), encoder.config._attn_implementation
        letters = 0 if self.frozen else encoder.get_input_embeddings().embedding_dim
        self.heads = HeadStack(self.plan, encoder.config.hidden_size, width, self.params.head_dropout, letters).to(device)
        # States that never change are computed once, where memory holds them.
        size = sum(len(row.ids) for row in (*self.rows, *self.val_rows)) * encoder.config.hidden_size * 4
        kept = self.frozen and size <= CACHED_BYTES
        self._cached, self._cached_val = (self._start_states(r, Tensor.clone) if kept else [] for r in (self.rows, self.val_rows))
        self._start_heads()
        self.predictor = EncoderPredictor(recipe.name, self.encoder, self.heads, self.tokenizer, spec.io_schema.output, self._max_tokens)
        tuned = {f"encoder.{n}": w for n, w in self.encoder.named_parameters() if w.requires_grad}
        heads = {f"heads.{n}": w for n, w in self.heads.named_parameters()}
        # Layers that begin as logistic regressions are where they should be already, and what they pool with them.
        told = ("heads.queries", *(f"heads.layers.{k}." for k, head in enumerate(self.plan) if head.kind in ("choice", "flags")))
        tuned |= {} if self.frozen else {n: w for n, w in heads.items() if n.startswith(told)}
        self.weights = tuned | heads
        new = [w for n, w in heads.items() if n not in tuned]
        share = self.params.few_share if len(self.contrasted) == len(self.plan) else 1.0
        peaks = (list(tuned.values()), share * self.params.lr), (new, share * self.params.head_lr)
        groups = [{"params": group, "peak": peak} for group, peak in peaks if group]
        self.optimizer = torch.optim.AdamW(groups, lr=self.params.head_lr, weight_decay=self.params.weight_decay, fused=True)
        self.initial_sha256 = self.weights_sha256()
        self.batch_size = self.params.batch_size
        if math.ceil(len(self.rows) / self.batch_size) * self.params.epochs > self.params.max_steps:
            self.batch_size *= 2
        self.passes = math.ceil(self.params.least_steps * self.batch_size / len(self.rows))
        self.steps_per_epoch = len(self.batches(0))
        tokens = 0 if self._cached else self.passes * sum(len(row.ids) for row in self.rows)
        affordable = round(min(self.params.max_steps / self.steps_per_epoch, self.params.max_trained_tokens / max(1, tokens)))
        self.epochs = min(math.ceil(share * self.params.epochs), max(self.params.least_epochs, affordable))

    @property
    def frozen(self) -> bool:
        return self.params.r == 0

    @property
    def identity(self) -> str:
        rows = [[(row.ids, row.shapes) for row in (*self.rows, *self.val_rows)], self.targets, self.val_targets]
        how = [asdict(self.params), self.spec.primary_metric.name, self.seed, self.threads, described(self.device), self.bf16]
        return digest([*how, weights_sha256(self.base), [h.to_json() for h in self.plan], rows])

    @property
    def _max_tokens(self) -> int:
        limit = getattr(AutoConfig.from_pretrained(self.base), "max_position_embeddings", self.params.max_tokens)
        return int(min(self.params.max_tokens, limit))

    def batches(self, epoch: int) -> list[list[int]]:
        draw, found = random.Random(f"{self.seed}/{epoch}"), list[list[int]]()
        for turn in range(epoch * self.passes, (epoch + 1) * self.passes):
            # Contrasted fields take turns, so that the classes of each meet their like.
            field = self.contrasted[turn % len(self.contrasted)] if self.contrasted else None
            classes = None if field is None else [target[field] for target in self.targets]
            found += make_batches(self.rows, self.batch_size, draw, classes)
        return found

    def loss(self, batch: Sequence[int]) -> tuple[Tensor, int]:
        if not self.frozen:  # a frozen one stays as it is, and to tell its hundred modules so each time costs as much as the step
            self.encoder.train()
        self.heads.train()
        states, padded = self._states([self.rows[i] for i in batch], [self._cached[i] for i in batch] if self._cached else None)
        targets = [self.targets[i] for i in batch]
        value = self._sum(self.heads(states, padded), targets, padded.words)
        if self.contrasted:
            value = value + self.params.contrast * self._contrast(states, padded, targets)
        return value, len(batch)

    def _contrast(self, states: Tensor, batch: Batch, targets: Sequence[list[Any]]) -> Tensor:
        mask = batch.mask.unsqueeze(-1)
        means = torch.nn.functional.normalize((states.float() * mask).sum(1), dim=-1)
        classes = [[-1 if t[k] is None else t[k] for t in targets] for k in self.contrasted]
        return torch.stack([supcon_loss(means, torch.tensor(each, device=self.device)) for each in classes]).mean()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        # One pass of the encoder serves the loss and the answers.
        loss, said = 0.0, list[str]()
        order = sorted(range(len(self.val)), key=lambda i: len(self.val_rows[i].ids))
        for part in self._judged(order):
            loss += self._sum(part.logits, part.targets, part.words).item() * len(part.rows)
            said += [self.predictor.text_of(values) for values, _ in self.predictor.decode(part.logits, part.rows, part.texts)]
        return {**self.scores([text for _, text in sorted(zip(order, said))]), "val_loss": loss / len(self.val)}

    @torch.inference_mode()
    def _judged(self, order: Sequence[int], size: int = 64) -> Iterator[Judged]:
        """The heads' logits on these validation rows, in batches."""
        self.encoder.eval()
        self.heads.eval()
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows, val = [self.val_rows[i] for i in chosen], [self.val[i] for i in chosen]
            states, batch = self._states(rows, [self._cached_val[i] for i in chosen] if self._cached_val else None)
            texts, outputs = [row.input_text for row in val], [row.output for row in val]
            yield Judged(rows, texts, outputs, [self.val_targets[i] for i in chosen], self.heads(states, batch), batch.words)

    def _right(self, text: str, output: Any) -> bool:
        return right(self.reader.read(text), self.reader.read(dump_output(self.spec.io_schema.output, output)))

    def write(self, out: Path, summary: dict[str, Any]) -> None:
        folder = out / "adapter"
        folder.mkdir(parents=True, exist_ok=True)
        trust = calibrate(self.predictor, self._judged, [len(row.ids) for row in self.val_rows], self._right)
        self.predictor.save_heads(folder)
        if not self.frozen:
            save_adapter(self.encoder, self.spec.encoder_model_id, folder)
        self.tokenizer.save_pretrained(out / "tokenizer")
        record = {
            "family": "encoder",
            "variant": self.recipe.name,
            "params": asdict(self.params),
            "seed": self.seed,
            "threads": self.threads,
            "device": described(self.device),
            "bf16_autocast": self.bf16,
            "attention": self.attention,
            "base_model_id": self.spec.encoder_model_id,
            "base_weights_sha256": weights_sha256(self.base),
            "initial_adapter_sha256": self.initial_sha256,
            "trainable_parameters": self.trainable,
            "batch_size": self.batch_size,
            "train_rows": len(self.rows),
            "val_rows": len(self.val_rows),
            "labels": self.labels,
            "effect": self._effect(),
            **trust,
            **summary,
        }
        save_record(out, record)

    def _with_lora(self, encoder: Any) -> Any:
        if self.frozen:
            return encoder.requires_grad_(False).eval()
        from peft import LoraConfig, get_peft_model

        p = self.params
        config = LoraConfig(
            r=p.r, lora_alpha=p.alpha, lora_dropout=p.dropout, target_modules="all-linear", exclude_modules=r".*pooler.*", bias="none"
        )
        model = get_peft_model(encoder, config)
        fuse(model)
        return model

    def _states(self, rows: Sequence[Encoded], cached: list[Tensor] | None) -> tuple[Tensor, Batch]:
        """Token states of these rows, padded: those given, or from the encoder."""
        batch = collate(rows, self.tokenizer.pad_token_id or 0, self.device)
        if cached is not None:
            return torch.nn.utils.rnn.pad_sequence(cached, batch_first=True), batch
        return token_states(self._forward, rows, batch, self.tokenizer.pad_token_id or 0, self._max_tokens), batch

    def _forward(self, batch: Batch) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.heads.states(self.encoder, batch)

    def _sum(self, logits: Sequence[Tensor], targets: Sequence[list[Any]], words: Tensor) -> Tensor:
        """The losses of all heads, added up."""
        total, width = torch.zeros((), device=self.device), self.heads.width
        if spans := [k for k, head in enumerate(self.plan) if head.kind == "span"]:
            total = total + span_loss(torch.stack([logits[k] for k in spans], 1), [[t[k] for k in spans] for t in targets], width)
        for k, (head, scores) in enumerate(zip(self.plan, logits)):
            if head.kind != "span":
                total = total + head_loss(head, scores, [t[k] for t in targets], words, width, self.params.label_smoothing)
        return total

    @torch.no_grad()
    def _start_states(self, rows: Sequence[Encoded], keep: Callable[[Tensor], Tensor], size: int = 32) -> list[Tensor]:
        """What `keep` makes of each row's token states (tokens, hidden) from the encoder as it is at the start."""
        out = [torch.empty(0)] * len(rows)
        self.encoder.eval()
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            states, _ = self._states([rows[i] for i in chosen], None)
            for i, row in zip(chosen, states.float()):
                out[i] = keep(row[: len(rows[i].ids)])
        return out

    def _start_heads(self) -> None:
        pooled = torch.empty(len(self.rows), 0)
        if any(head.kind in ("choice", "flags") for head in self.plan):
            # Of LoRA runs only the means are kept: the states of all tokens of a large data set would not fit in memory.
            pooled = torch.stack([_mean(s) for s in self._cached] if self._cached else self._start_states(self.rows, _mean)).float()
        # Fitted by scikit-learn, on the processor.
        start_heads(self.heads.cpu(), pooled.cpu(), self.targets, self.contrasted)
        self.heads.to(self.device)

    @torch.no_grad()
    def _effect(self) -> dict[str, float]:
        """How far the adapter moves the encoder's states on a few rows; refused when it does not."""
        if self.frozen:
            return {}
        rows, pad_id = self.rows[:4], self.tokenizer.pad_token_id or 0
        batch = collate(rows, pad_id, self.device)
        self.encoder.eval()

        def states() -> Tensor:
            # In fp32, where a small change does not round to none.
            return token_states(lambda part: self.heads.states(self.encoder, part), rows, batch, pad_id, self._max_tokens)

        tuned = states()
        with self.encoder.disable_adapter():
            plain = states()
        change = float((tuned - plain).abs().max())
        if change == 0.0:
            raise UserError("the adapter has no effect on the encoder", where=f"variant {self.recipe.name}", how="check the learning rate")
        return {"max_state_change": change}


def _mean(states: Tensor) -> Tensor:
    return torch.nn.functional.normalize(states.mean(0), dim=0)
