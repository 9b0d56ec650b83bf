"""What both families of adapters share: the optimiser step, the learning rate, the tensors of a checkpoint, the files of an adapter."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.tables import lower_is_better, metric_tables, of_answers
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_assets.training.hardware import has_bf16
from pp_assets.training.recipes import Recipe
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output, leaf_fields

# Fewer rows do not tell epochs apart. Of banking77 with 10 rows a class 43 rows preferred the second of six epochs by two right answers;
# with 85 rows of snips or restaurant8k the epoch of least loss on 15 others was too early by 0.02 and 0.06 of slot F1.
LEAST_JUDGED = 50


class Run(ABC):
    """One training: model, rows, optimiser, and what a step is. `loop.train` drives it. It runs on `device`, in bf16 where that is faster.

    A subclass sets `base` (folder), `val`, `weights` (the trained parameters by name) and `optimizer` (groups with a "peak" rate),
    then `epochs` and `steps_per_epoch`.
    """

    base: Path
    val: Sequence[Example]
    weights: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    epochs: int
    steps_per_epoch: int
    average: dict[str, Tensor]  # of the weights over the last steps; empty where the recipe wants none

    def __init__(self, spec: TaskSpec, recipe: Recipe, seed: int, threads: int, device: torch.device | str) -> None:
        torch.set_num_threads(threads)
        self.device, self.bf16 = torch.device(device), has_bf16(device)
        self.spec, self.recipe, self.seed, self.threads, self.average = spec, recipe, seed, threads, {}
        schema = spec.io_schema.output
        self.reader = OutputReader(schema, {leaf.path: spec.compare(leaf.path) for leaf in leaf_fields(schema)})

    @property
    @abstractmethod
    def identity(self) -> str:
        """Digest of all that the bytes depend on: a checkpoint of another run is not continued."""

    @abstractmethod
    def batches(self, epoch: int) -> list[Any]:
        """The batches of an epoch: a function of the seed and the epoch alone, so that a resumed run sees the same ones."""

    @abstractmethod
    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """(mean loss in training mode, how many rows or tokens it is the mean of)."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """What `scores` says of the answers on the validation rows, and `val_loss`."""

    @abstractmethod
    def write(self, out: Path, summary: dict[str, Any]) -> None:
        """adapter/, tokenizer/, training.json, metrics.jsonl: nothing in them depends on the time or the place of the run."""

    def scores(self, answers: Sequence[str]) -> dict[str, float]:
        """Of one answer for each validation row, by the evaluator's own rules: `val_object_exact_match`, and `val_primary`, the task's
        primary metric (whole objects where that is about time or has no value)."""
        rows = [
            PredictionRow(row.item_id, row.group, row.input_text, dump_output(self.spec.io_schema.output, row.output), said)
            for row, said in zip(self.val, answers, strict=True)
        ]
        read = self.reader.read
        tables = metric_tables(rows, [read(row.output) for row in rows], [read(row.expected) for row in rows], self.reader.fields)
        values = {name: float(table.value(table.counts.sum(0))) for name, table in tables.items()}
        exact, primary = values["object_exact_match"], values[of_answers(self.spec.primary_metric.name)]
        return {"val_object_exact_match": exact, "val_primary": exact if math.isnan(primary) else primary}

    def goodness(self, scores: dict[str, float]) -> tuple[float, ...]:
        """By which the best epoch is chosen: the primary metric, then whole objects, then the loss. With fewer than LEAST_JUDGED validation
        rows it is the last one. More is better."""
        if len(self.val) < LEAST_JUDGED:
            return (scores["epoch"],)
        sign = -1 if lower_is_better(of_answers(self.spec.primary_metric.name)) else 1
        return sign * scores["val_primary"], scores["val_object_exact_match"], -scores["val_loss"]

    @property
    def trainable(self) -> int:
        """How many numbers are trained."""
        return sum(w.numel() for w in self.weights.values())

    def step(self, batch: Any, step: int) -> tuple[float, int]:
        """One optimiser step; (loss, what it is the mean of). A loss that is not finite is a UserError."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.rate(step)
        value, count = self.backward(batch)
        torch.nn.utils.clip_grad_norm_(list(self.weights.values()), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(value):
            raise UserError(f"the loss is {value} at step {step + 1}", where=f"variant {self.recipe.name}", how="use a lower learning rate")
        self._average(step)
        return value, count

    @torch.no_grad()
    def _average(self, step: int) -> None:
        window = self.recipe.trained.average * self.steps_per_epoch
        if window <= 1:
            return
        # The first steps count little: an average that held on to the start would have to forget it first.
        share = max(1 / window, 9 / (10 + step))
        for name, weight in self.weights.items():
            self.average[name] = self.average[name].lerp_(weight, share) if name in self.average else weight.detach().clone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within it the weights are their average, where there is one."""
        now = self.tensors()
        self.load_tensors(self.average)
        yield
        self.load_tensors(now)

    def backward(self, batch: Any) -> tuple[float, int]:
        """Add the gradients of a batch's mean loss; (loss, what it is the mean of)."""
        loss, count = self.loss(batch)
        loss.backward()
        return loss.item(), count

    def rate(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then a cosine to 0 over all epochs (so that early stopping does not change it)."""
        total = self.epochs * self.steps_per_epoch
        warmup = max(1, round(self.recipe.trained.warmup * total))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    def tensors(self) -> dict[str, Tensor]:
        return {name: w.detach().clone() for name, w in self.weights.items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in tensors.items():
                self.weights[name].copy_(value)

    def weights_sha256(self) -> str:
        """Of the trained weights as they are now."""
        seen = hashlib.sha256()
        for name in sorted(self.weights):
            seen.update(name.encode() + self.weights[name].detach().cpu().numpy().tobytes())
        return seen.hexdigest()


def save_adapter(model: Any, base_model_id: str, folder: Path, **settings: Any) -> None:
    """The adapter of a peft model as peft reads it: safetensors, and a configuration whose lists are in order, with further `settings`."""
    from peft.utils import get_peft_model_state_dict

    weights = {k: v.detach().cpu().clone().contiguous() for k, v in get_peft_model_state_dict(model).items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": base_model_id, "inference_mode": True} | settings
    if not isinstance(config["target_modules"], str):
        config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True, default=sorted) + "\n", "utf-8")


def save_record(out: Path, record: dict[str, Any]) -> None:
    """training.json, and its history once more as metrics.jsonl."""
    (out / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (out / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in record["history"]), "utf-8")
