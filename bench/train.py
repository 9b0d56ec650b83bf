"""How fast the causal trainer is, against TRL's SFTTrainer on the same rows, and whether it computes the same loss.

    .venv/bin/pip install -e '.[bench]' -c .ci/constraints.txt
    .venv/bin/python bench/train.py [--repeats 5] [--rows 64] [--hidden 320] [--layers 7] [--device cuda]

A random Llama of about 10 M parameters, LoRA of rank 16 on every linear layer, tickets with a shared instruction, one thread, batches of 8,
one epoch. TRL runs with its defaults and with its best settings for a processor. The variants take turns; each figure is the median. The
loss curves of our trainer are compared with a plain loop of peft over whole sequences in fp32, on the same batches from the same start.
On a device all contestants run there, and rates are per second by the clock.
Prints tables, then `RESULT key=value`.
"""

import argparse
import gc
import logging
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_assets.training.causal import CausalRun
from pp_assets.training.params import CausalParams
from pp_assets.training.recipes import Recipe
from pp_resources.device import described, find_device
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import load_model, load_tokenizer

BATCH, RATE = 8, 1e-3
PARAMS = CausalParams(r=16, alpha=32, lr=RATE, epochs=1, batch_size=BATCH)
RECIPES = {
    "lora": Recipe("lora", "causal", "", PARAMS),
    "activated": Recipe("activated", "causal", "", replace(PARAMS, activated=True)),
}
TOPICS = ["delivery", "billing", "returns", "account", "other"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["topic", "urgent", "order_id", "weekday"],
    "properties": {
        "topic": {"type": "string", "enum": TOPICS},
        "urgent": {"type": "boolean"},
        "order_id": {"type": ["string", "null"], "x-verbatim": True},
        "weekday": {"type": "string", "enum": DAYS},
    },
}
INSTRUCTION = """Read the message of a customer and write one JSON object.
topic: delivery when a parcel is late, lost or damaged; billing when it is about an invoice, a charge or a refund; returns when something \
goes back; account when the customer cannot sign in; other for all the rest.
urgent: true when the customer needs an answer today.
order_id: the order number in the message, or null.
weekday: the day on which it began.

Message: {{ input_text }}
JSON:"""


def main() -> None:
    arguments = _arguments()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = write_base(Path(folder), arguments.hidden, arguments.layers)
        spec, rows = spec_on(base), tickets(arguments.rows)
        device = find_device(arguments.device)
        print(_described(base, spec, rows, device))
        gaps = loss_gaps(spec, rows, device)
        timed = alternate(contestants(spec, rows, device), arguments.repeats)
    report(timed, gaps, arguments.rows, 0 if device.type == "cpu" else 1)


def write_base(folder: Path, hidden: int, layers: int) -> Path:
    tokenizer = load_tokenizer(find_base(TINY_BASE))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 27 // 10,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def spec_on(base: Path) -> TaskSpec:
    return parse_spec(
        {
            "name": "tickets",
            "base_model_id": str(base),
            "system_prompt": "You sort the mail of a shop.",
            "instruction_template": INSTRUCTION,
            "io_schema": {"output": OUTPUT},
        },
        "bench",
    )


def tickets(count: int) -> list[Example]:
    draw, made = random.Random(0), []
    for i in range(count):
        order = f"{draw.choice('ABCDEF')}-{draw.randint(1000, 9999)}" if draw.random() < 0.8 else None
        topic, urgent = draw.choice(TOPICS), draw.random() < 0.4
        day = draw.choice(DAYS)
        text = f"{order or 'My parcel'} is a {topic} case since {day}{', I need it today!' if urgent else '.'}"
        made.append(Example(f"t{i}", text, {"topic": topic, "urgent": urgent, "order_id": order, "weekday": day}))
    return made


def new_run(spec: TaskSpec, rows: list[Example], recipe: str, device: torch.device, *, bf16: bool | None = None) -> CausalRun:
    run = CausalRun(spec, RECIPES[recipe], rows, [], 0, 1, device)
    run.bf16 = run.bf16 if bf16 is None else bf16
    return run


def steps_of(run: CausalRun) -> list[float]:
    return [run.step(batch, i)[0] for i, batch in enumerate(run.batches(0))]


def plain_steps(spec: TaskSpec, run: CausalRun) -> list[float]:
    """The same training by peft over whole sequences with a mask and -100 labels, as Transformers documents it: fp32, every logit."""
    base, encoder = load_model(Path(spec.base_model_id), device=run.device), run.predictor.encoder
    invocation = encoder.invocation_ids or None
    torch.manual_seed(0)
    p = run.params
    settings = LoraConfig(r=p.r, lora_alpha=p.alpha, target_modules="all-linear", task_type="CAUSAL_LM", alora_invocation_tokens=invocation)
    model = get_peft_model(base, settings).train()
    weights = [w for w in model.parameters() if w.requires_grad]
    optimizer, losses = torch.optim.AdamW(weights, lr=p.lr, weight_decay=p.weight_decay), []
    for step, batch in enumerate(run.batches(0)):
        whole = [encoder.prefix_ids + row.suffix + row.answer for row in batch]
        width = max(map(len, whole))
        ids = torch.tensor([row + [run.pad_id] * (width - len(row)) for row in whole])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in whole])
        labels = torch.full_like(ids, -100)
        for i, row in enumerate(batch):
            labels[i, len(whole[i]) - len(row.answer) : len(whole[i])] = torch.tensor(row.answer)
        optimizer.param_groups[0]["lr"] = p.lr * run.rate(step)
        loss = model(input_ids=ids.to(run.device), attention_mask=mask.to(run.device), labels=labels.to(run.device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def loss_gaps(spec: TaskSpec, rows: list[Example], device: torch.device) -> dict[str, dict[str, float]]:
    """Largest difference of the loss curves to the plain loop's, in fp32 and as trained, and the mean loss of each."""
    made = {}
    for recipe in RECIPES:
        plain = plain_steps(spec, new_run(spec, rows, recipe, device))
        exact, used = steps_of(new_run(spec, rows, recipe, device, bf16=False)), steps_of(new_run(spec, rows, recipe, device))
        made[recipe] = {
            "gap": max(abs(a - b) for a, b in zip(plain, exact, strict=True)),
            "gap_bf16": max(abs(a - b) for a, b in zip(plain, used, strict=True)),
            "plain": statistics.mean(plain),
            "used": statistics.mean(used),
        }
    return made


Contestant = Callable[[], Callable[[], Any]]
"""Prepares a training (not timed) and returns it."""


def contestants(spec: TaskSpec, rows: list[Example], device: torch.device) -> dict[str, Contestant]:
    def ours(recipe: str) -> Contestant:
        def prepare() -> Callable[[], Any]:
            run = new_run(spec, rows, recipe, device)
            return lambda: steps_of(run)

        return prepare

    return {
        "TRL SFTTrainer, defaults": lambda: trl_trainer(spec, rows, device),
        "TRL, no gradient checkpointing": lambda: trl_trainer(spec, rows, device, gradient_checkpointing=False),
        "TRL, no checkpointing, eager attention": lambda: trl_trainer(spec, rows, device, attention="eager", gradient_checkpointing=False),
        "ours, lora-r16": ours("lora"),
        "ours, alora-r16": ours("activated"),
    }


def trl_trainer(spec: TaskSpec, rows: list[Example], device: torch.device, attention: str = "sdpa", **settings: Any) -> Callable[[], Any]:
    """TRL on the token ids that we train on; whatever is not named is its default."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar as quietly
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    quietly()
    run = new_run(spec, rows, "lora", device)
    prefix = run.predictor.encoder.prefix_ids
    data = [
        {"input_ids": prefix + r.suffix + r.answer, "labels": [-100] * (len(prefix) + len(r.suffix)) + r.answer}
        for batch in run.batches(0)
        for r in batch
    ]
    model = LlamaForCausalLM.from_pretrained(spec.base_model_id, dtype=torch.float32, attn_implementation=attention)
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1000, "use_cpu": device.type == "cpu"}
    sizes = {"num_train_epochs": 1, "per_device_train_batch_size": BATCH, "learning_rate": RATE}
    config = SFTConfig(output_dir=tempfile.mkdtemp(), **quiet, **sizes, **settings)
    lora = LoraConfig(r=PARAMS.r, lora_alpha=PARAMS.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    tokenizer = load_tokenizer(Path(spec.base_model_id))
    trainer = SFTTrainer(model, args=config, train_dataset=Dataset.from_list(data), processing_class=tokenizer, peft_config=lora)
    trainer.remove_callback(PrinterCallback)
    torch.set_num_threads(1)
    return lambda: trainer.train().training_loss


def alternate(made: dict[str, Contestant], repeats: int) -> dict[str, list[tuple[float, float]]]:
    """(CPU seconds, wall seconds) of each training, one after another in turn."""
    timed: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(repeats):
        for name, prepare in made.items():
            train = prepare()
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            train()
            timed[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return timed


def report(timed: dict[str, list[tuple[float, float]]], gaps: dict[str, dict[str, float]], rows: int, clock: int) -> None:
    """`clock` 0: rates by CPU time, 1: by the wall's."""
    cpu = {name: statistics.median(c for c, _ in runs) for name, runs in timed.items()}
    wall = {name: statistics.median(w for _, w in runs) for name, runs in timed.items()}
    first, *_ = timed
    taken, said = (cpu, wall)[clock], ("CPU", "wall")[clock]
    best = min((name for name in timed if name.startswith("TRL")), key=lambda name: taken[name])
    print(f"| trainer | examples per {said}-second | {said} seconds, least to most | x TRL's defaults (CPU) | (wall) |")
    print("| --- | --- | --- | --- | --- |")
    for name, runs in timed.items():
        spread = f"{min(both[clock] for both in runs):.2f} to {max(both[clock] for both in runs):.2f}"
        print(f"| {name} | {rows / taken[name]:.1f} | {spread} | {cpu[first] / cpu[name]:.2f} | {wall[first] / wall[name]:.2f} |")
    print()
    print("| recipe | mean loss, plain loop in fp32 | mean loss, as trained | largest gap of a step, fp32 | as trained |")
    print("| --- | --- | --- | --- | --- |")
    for name, gap in gaps.items():
        print(f"| {name} | {gap['plain']:.4f} | {gap['used']:.4f} | {gap['gap']:.1e} | {gap['gap_bf16']:.1e} |")
    print(f"\nTRL's best settings here: {best}")
    results = {
        f"speedup_{said.lower()}_lora": f"{taken[first] / taken['ours, lora-r16']:.2f}",
        f"speedup_{said.lower()}_activated": f"{taken[first] / taken['ours, alora-r16']:.2f}",
        f"speedup_{said.lower()}_lora_best": f"{taken[best] / taken['ours, lora-r16']:.2f}",
        f"speedup_{said.lower()}_activated_best": f"{taken[best] / taken['ours, alora-r16']:.2f}",
        "loss_gap": f"{max(gap['gap'] for gap in gaps.values()):.1e}",
    }
    print("RESULT", *(f"{key}={value}" for key, value in results.items()))


def _described(base: Path, spec: TaskSpec, rows: list[Example], device: torch.device) -> str:
    run = new_run(spec, rows, "lora", device)
    size = sum(w.numel() for w in load_model(base).parameters())
    mean = {part: statistics.mean(len(getattr(row, part)) for row in run.rows) for part in ("suffix", "answer")}
    lengths = f"{len(run.predictor.encoder.prefix_ids)} shared, {mean['suffix']:.0f} own, {mean['answer']:.0f} to learn"
    kind = f"bf16 {'on' if run.bf16 else 'off'}, torch {torch.__version__}, one thread, {described(device)}"
    return f"{size / 1e6:.1f} M parameters, {run.trainable:,} trained; {len(rows)} rows of {lengths} tokens; {kind}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--hidden", type=int, default=320)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="as PP_DEVICE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
