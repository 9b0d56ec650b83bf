"""Pre-training of the tiny base: Muon on the matrices, AdamW on the rest, batches drawn anew for every step from the seed and the
step number.

Profiled in fp32 on one core: with attention by sdpa instead of eagerly, 57,000 tokens take 24 s instead of 30, of which 5 s are Muon and
0.3 s drawing and tokenising; the last feed-forward part runs only where there is a loss.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.make_base.corpus import Row, example
from bench.make_base.heads import copying
from bench.make_base.measure import held_out_scores
from pp_assets.training.checkpoint import load_checkpoint, save_checkpoint
from pp_assets.training.hardware import has_bf16

Draw = Callable[[Random, float], Row]  # an example, given the share of drills


@dataclass(frozen=True)
class Plan:
    """What is run. `tokens` is the budget; `minutes`, where given, bounds the wall time: the decay then follows the clock, and the result
    is not reproducible to the byte."""

    seed: int = 1
    vocab: int = 4096
    hidden: int = 256
    layers: int = 4
    heads: int = 8
    ffn: int = 704
    rope_theta: float = 100_000.0
    tokens: int = 14_000_000
    minutes: float | None = None
    batch: int = 48
    batch_tokens: int = 4_500
    longest: int = 400
    chunk: int = 8  # batches that are drawn together and sorted by length
    muon_lr: float = 0.01
    adam_lr: float = 4e-3
    decay_from: float = 0.45
    drill_start: float = 0.95
    drill_end: float = 0.12
    drill_until: float = 0.35
    input_share: float = 0.15
    input_weight: float = 0.2
    threads: int = 1  # as shipped: with another number the bytes are others


FIRST = Plan()
# Longer batches: fewer steps of Muon, whose cost does not depend on the batch. Few drills: the open kinds are harder ones.
SECOND = Plan(
    tokens=9_000_000, batch=64, batch_tokens=6_000, muon_lr=0.006, adam_lr=2.4e-3, decay_from=0.25, drill_start=0.05, drill_end=0.05
)


def new_model(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(plan.seed)
    config = LlamaConfig(
        vocab_size=plan.vocab,
        hidden_size=plan.hidden,
        intermediate_size=plan.ffn,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.heads,
        max_position_embeddings=4096,
        # Slower rotation leaves more dimensions in which a match does not depend on the distance.
        rope_parameters={"rope_type": "default", "rope_theta": plan.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config)
    copying(model, plan.seed)
    return model


def batches(plan: Plan, tokenizer: PreTrainedTokenizerFast, draw: Draw, step: int, progress: float) -> Iterator[tuple[Tensor, Tensor]]:
    """`chunk` batches (ids, loss weights), both (batch, length), of examples of like length; a function of the seed and the step."""
    r = Random(f"{plan.seed}:{step}")
    drill = plan.drill_start + (plan.drill_end - plan.drill_start) * min(1.0, progress / plan.drill_until)
    rows = []
    for before, text, after, answer in (draw(r, drill) for _ in range(plan.batch * plan.chunk)):
        prompt = tokenizer(before + text + after)["input_ids"]
        completion = [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]
        if len(prompt) + len(completion) <= plan.longest:
            rows.append((prompt, completion))
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    groups: list[list[tuple[list[int], list[int]]]] = [[]]
    for row in rows:  # the rows of a batch are at most `batch` and, padded, at most `batch_tokens`: memory of long ones is bounded
        if len(groups[-1]) == plan.batch or (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > plan.batch_tokens:
            groups.append([])
        groups[-1].append(row)
    r.shuffle(groups)
    for group in groups:
        # Few different shapes: an allocator that has to hold a block for each grows to many times what a step needs.
        length = -(-max(len(p) + len(c) for p, c in group) // 16) * 16
        ids = torch.full((len(group), length), tokenizer.pad_token_id)
        weights = torch.zeros(len(group), length)
        for i, (p, c) in enumerate(group):
            ids[i, : len(p) + len(c)] = torch.tensor(p + c)
            weights[i, 1 : len(p)] = plan.input_weight * torch.tensor([r.random() < plan.input_share for _ in p[1:]], dtype=torch.float)
            weights[i, len(p) : len(p) + len(c)] = 1.0
        yield ids, weights


def states(model: LlamaForCausalLM, ids: Tensor, where: Tensor) -> Tensor:
    """The last hidden states (chosen, width) of the positions of `ids` (batch, length) at which `where` (batch, length) holds; the last
    feed-forward part is computed for these alone. Padding stands on the right, where a causal model cannot look."""
    inner, last = model.model, model.model.layers[-1]
    hidden = inner.embed_tokens(ids)
    rotary = inner.rotary_emb(hidden, torch.arange(ids.shape[1])[None])
    for layer in inner.layers[:-1]:
        hidden = layer(hidden, attention_mask=None, position_embeddings=rotary)
    attended = last.self_attn(last.input_layernorm(hidden), attention_mask=None, position_embeddings=rotary)[0]
    chosen = (hidden + attended)[where]
    return inner.norm(chosen + last.mlp(last.post_attention_layernorm(chosen)))


def train(
    plan: Plan,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    work: Path,
    draw: Draw = example,
    watched: Mapping[str, Sequence[Row]] | None = None,
) -> dict[str, Any]:
    """Run or resume the plan on `model` with examples from `draw`; logs to ``work/log.jsonl``, now and then with the scores of the rows
    `watched`. Returns what was run."""
    torch.set_num_threads(plan.threads)
    model.train()
    named = dict(model.named_parameters())
    matrices = [p for n, p in named.items() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in named.items() if p.ndim != 2 or "embed" in n]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "muon": torch.optim.Muon(matrices, lr=plan.muon_lr, weight_decay=0.0, momentum=0.95),
        "adam": torch.optim.AdamW(others, lr=plan.adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    }
    peak = {"muon": plan.muon_lr, "adam": plan.adam_lr}
    seen, spent, step, chunk = 0, 0.0, 0, 0
    found = load_checkpoint(work, optimizers, only_if=lambda state: state["plan"] == asdict(plan))
    if found:
        step, tensors, state = found
        model.load_state_dict(tensors, strict=False)
        seen, spent, chunk = state["seen"], state["spent"], state["chunk"]
    bf16 = has_bf16()
    began = saved = time.monotonic()
    losses: list[float] = []
    while (progress := max(seen / plan.tokens, (spent + time.monotonic() - began) / 60 / plan.minutes if plan.minutes else 0.0)) < 1.0:
        for ids, weights in batches(plan, tokenizer, draw, chunk, progress):
            factor = min(1.0, (step + 1) / 40) * min(1.0, (1.0 - progress) / (1.0 - plan.decay_from))
            for name, optimizer in optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = peak[name] * max(factor, 0.01)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                where = weights[:, 1:] > 0
                logits = model.lm_head(states(model, ids[:, :-1], where))
            each = cross_entropy(logits.float(), ids[:, 1:][where], reduction="none")
            share = weights[:, 1:][where]
            loss = (each * share).sum() / share.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers.values():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            seen += int((ids != tokenizer.pad_token_id).sum())
            step += 1
            losses.append(each[share == 1.0].mean().item())
        chunk += 1
        if time.monotonic() - saved > 420:
            saved = time.monotonic()
            state = {"plan": asdict(plan), "seen": seen, "spent": spent + saved - began, "chunk": chunk}
            save_checkpoint(work, step, named, optimizers, state)
            model.eval()
            scores = {name: held_out_scores(model, tokenizer, rows) for name, rows in (watched or {}).items()}
            model.train()
            mean = sum(losses[-100:]) / len(losses[-100:])
            entry = {"step": step, "tokens": seen, "progress": round(progress, 4), "loss": mean, **scores}
            with (work / "log.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
    run = {
        "plan": asdict(plan),
        "step": step,
        "tokens": seen,
        "wall_s": spent + time.monotonic() - began,
        "bf16": bf16,
        "ended_by": "tokens" if seen >= plan.tokens else "clock",
        "loss": sum(losses[-100:]) / max(1, len(losses[-100:])),
        "torch": torch.__version__,
    }
    model.eval()
    return run
