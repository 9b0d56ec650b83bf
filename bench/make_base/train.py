"""Pre-training of the tiny base: Muon on the matrices, AdamW on the rest, batches drawn anew for every step from the seed and the
step number."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.make_base.corpus import example
from bench.make_base.heads import copying
from pp_assets.training.checkpoint import load_checkpoint, save_checkpoint


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
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    copying(model, plan.seed)
    return model


def batches(plan: Plan, tokenizer: PreTrainedTokenizerFast, step: int, progress: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`chunk` batches (ids, loss weights), both (batch, length), of examples of like length; a function of the seed and the step."""
    r = Random(f"{plan.seed}:{step}")
    drill = plan.drill_start + (plan.drill_end - plan.drill_start) * min(1.0, progress / plan.drill_until)
    rows = []
    for before, text, after, answer in (example(r, drill) for _ in range(plan.batch * plan.chunk)):
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


def train(plan: Plan, tokenizer: PreTrainedTokenizerFast, work: Path) -> LlamaForCausalLM:
    """Run or resume the plan; logs to ``work/log.jsonl``."""
    torch.set_num_threads(plan.threads)
    model = new_model(plan, tokenizer).train()
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
    bf16 = any(flag in Path("/proc/cpuinfo").read_text() for flag in ("avx512_bf16", "amx_bf16"))
    began = saved = time.monotonic()
    losses: list[float] = []
    while (progress := max(seen / plan.tokens, (spent + time.monotonic() - began) / 60 / plan.minutes if plan.minutes else 0.0)) < 1.0:
        for ids, weights in batches(plan, tokenizer, chunk, progress):
            factor = min(1.0, (step + 1) / 40) * min(1.0, (1.0 - progress) / (1.0 - plan.decay_from))
            for name, optimizer in optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = peak[name] * max(factor, 0.01)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                hidden = model.model(ids).last_hidden_state
                where = weights[:, 1:] > 0
                logits = model.lm_head(hidden[:, :-1][where])
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
        if time.monotonic() - saved > 240:
            saved = time.monotonic()
            state = {"plan": asdict(plan), "seen": seen, "spent": spent + saved - began, "chunk": chunk}
            save_checkpoint(work, step, named, optimizers, state)
            scores = held_out_scores(model, tokenizer, n=32)
            mean = sum(losses[-100:]) / len(losses[-100:])
            entry = {"step": step, "seen": seen, "progress": round(progress, 4), "cpu_s": time.process_time(), "loss": mean, **scores}
            with (work / "log.jsonl").open("a") as log:
                log.write(json.dumps(entry) + "\n")
    log_end = {
        "plan": asdict(plan),
        "step": step,
        "tokens": seen,
        "wall_s": spent + time.monotonic() - began,
        "cpu_s_last_run": time.process_time(),
        "bf16": bf16,
        "ended_by": "tokens" if seen >= plan.tokens else "clock",
        "loss": sum(losses[-100:]) / max(1, len(losses[-100:])),
    }
    (work / "run.json").write_text(json.dumps(log_end, indent=1))
    return model.eval()


@torch.inference_mode()
def held_out_scores(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int, unseen_kinds: bool = False, seed: str = "held-out"
) -> dict[str, float]:
    """Free greedy answers to `n` examples that training never draws: share of valid JSON, of exact answers, of copied strings that
    are right."""
    model.eval()
    rows = [example(Random(f"{seed}:{i}"), drill=0.0, held_out=unseen_kinds) for i in range(n)]
    rows.sort(key=lambda row: sum(map(len, row[:3])))
    valid = exact = strings = right = 0
    for start in range(0, n, 32):
        part = rows[start : start + 32]
        batch = tokenizer([b + t + a for b, t, a, _ in part], return_tensors="pt", padding=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=False):
            made = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=120, do_sample=False)
        for ids, (_, text, _, answer) in zip(made, part, strict=True):
            said = tokenizer.decode(ids[batch["input_ids"].shape[1] :], skip_special_tokens=True)
            expected = json.loads(answer)
            exact += said == answer
            try:
                got = json.loads(said)
            except ValueError:
                got = {}
            valid += bool(got)
            for key, value in expected.items():
                if isinstance(value, str) and value in text:
                    strings += 1
                    right += isinstance(got, dict) and got.get(key) == value
    model.train()
    return {"n": n, "valid": valid / n, "exact": exact / n, "strings": strings, "copied": right / strings if strings else math.nan}
