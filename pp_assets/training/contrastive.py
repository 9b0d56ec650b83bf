"""Contrastive tuning of a sentence encoder on few rows, after SetFit (Tunstall et al. 2022).

On the two example tasks it is no better than logistic regression on the encoder as it is (topic of support-triage, 91 validation rows:
0.51 of either after 60 rows, 0.67 and 0.64 after 358) and costs 15 to 25 CPU-seconds more; so a task has to ask for it.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pp_assets.training.hardware import has_bf16
from pp_resources.models.embedder import Embedder
from pp_resources.progress import steps

PAIRS = 16  # a step: as many texts again are their partners, and every text is compared with every other
RATE = 6e-4
UPPER = 3  # one in so many layers is tuned, from the top
# What ends the tuning, so that it depends on the data and not on the clock: 23 CPU-seconds for texts of 45 tokens.
MAX_TOKENS, MAX_STEPS = 40_000, 40


def tuned_embedder(folder: Path, texts: Sequence[str], classes: np.ndarray, seed: int) -> Embedder:
    """The encoder in `folder`, tuned until the cosine of two texts is the share of fields in which their classes are equal.

    `classes` (texts, fields) are whole numbers. Each step draws a field for each pair and two texts that are equal in it, so that rare
    classes meet their like.
    """
    torch.manual_seed(seed)
    embedder = Embedder(folder)
    model, draw = embedder.model, random.Random(seed)
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    alike = [
        [np.flatnonzero(classes[:, field] == value) for value in range(classes[:, field].max() + 1)] for field in range(classes.shape[1])
    ]
    trained = _upper(model)
    optimizer = torch.optim.AdamW(trained, lr=RATE, fused=True)
    targets = torch.from_numpy((classes[:, None] == classes[None]).mean(-1)).float()
    lengths = [min(len(ids), embedder.max_tokens) for ids in embedder.tokenizer(list(texts))["input_ids"]]
    count = max(1, min(MAX_STEPS, round(MAX_TOKENS / (2 * PAIRS * sum(lengths) / len(lengths)))))
    with steps("contrast", count) as advance:
        for step in range(count):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / (0.1 * count)) * (1 - step / count)
            rows = []
            for _ in range(PAIRS):
                first, field = draw.randrange(len(texts)), draw.randrange(classes.shape[1])
                rows += [first, int(draw.choice(alike[field][classes[first, field]]))]
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
                vectors = embedder.vectors([texts[i] for i in rows])
            vectors = vectors.float()
            others = ~torch.eye(len(rows), dtype=torch.bool)
            loss = ((vectors @ vectors.T - targets[rows][:, rows]) ** 2)[others].mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            advance(f"loss {loss.item():.3f}")
    return embedder


def _upper(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights of the upper part of the layers; the others are frozen."""
    numbers = {name: int(found.group(1)) for name, _ in model.named_parameters() if (found := re.search(r"\.(\d+)\.", name))}
    count = max(numbers.values(), default=0) + 1
    first = count - -(-count // UPPER)
    for name, weight in model.named_parameters():
        weight.requires_grad_(numbers.get(name, -1) >= first)
    return [weight for weight in model.parameters() if weight.requires_grad]
