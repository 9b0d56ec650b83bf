"""Hyper-parameters of the families: everything of a recipe that changes the weights."""

from dataclasses import dataclass, field
from typing import Literal

Strategy = Literal["vote", "weighted", "stack", "route"]


@dataclass(frozen=True)
class EncoderParams:
    """LoRA on a sentence encoder and the heads on top of it.

    `r` 0 freezes the encoder and trains the heads alone. `lr` is for LoRA and for heads that begin as logistic regressions, `head_lr` for
    what begins at nothing. Both are peaks of a cosine with warm-up over `epochs`, or over as many (but `least_epochs`) as `max_steps` and
    `max_trained_tokens` (ten minutes of one core) allow: small data needs many passes, large data few, in batches twice as large. An epoch
    goes through few rows as often as makes `least_steps` steps (85 rows of snips: slot F1 0.69 instead of 0.54, see
    bench/RESULTS.md). `patience` counts epochs without a better validation score. `hidden_dropout` is that inside the encoder: with it, and
    twice the rate, entities of wnut17 had F1 0.601 after four epochs (validation rows) instead of 0.575. `average`: judged and kept is the
    exponential average of the weights over so many epochs; after one epoch that is worth 1 to 3 points of the validation rows, at the end
    of the cosine a few tenths. `contrast` weighs the contrastive loss of fields with few rows a class; a task of such fields alone, which
    is soon learnt by heart, takes `few_share` of the rates and of the epochs (banking77 with 10 rows a class, 2,310 other training rows:
    0.857 right at the end instead of 0.842, where 0.854 was the best epoch).
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    lr: float = 1.4e-3
    head_lr: float = 2e-3
    epochs: int = 12
    least_epochs: int = 3
    least_steps: int = 30
    max_steps: int = 1400
    max_trained_tokens: int = 550_000
    batch_size: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    hidden_dropout: float = 0.1
    head_dropout: float = 0.1
    average: float = 0.5
    contrast: float = 1.0
    few_share: float = 0.5
    patience: int = 4
    max_tokens: int = 512


@dataclass(frozen=True)
class CausalParams:
    """LoRA on a causal language model; `targets` as peft's `target_modules`.

    `rslora` scales by alpha/sqrt(r) instead of alpha/r, which larger ranks need. `dora` trains the length of each weight column beside its
    direction. `activated` leaves the shared prefix to the frozen base and adapts what comes after it. `accumulate` splits a batch into so
    many parts that are computed one after another, for bases whose whole batch does not fit in memory; the step is the same. `average`
    as for encoders.
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: str = "all-linear"
    rslora: bool = False
    dora: bool = False
    activated: bool = False
    lr: float = 6e-3
    epochs: int = 6
    batch_size: int = 16
    accumulate: int = 1
    average: float = 0.0
    warmup: float = 0.05
    weight_decay: float = 0.0
    patience: int = 2


@dataclass(frozen=True)
class EnsembleParams:
    """Trained variants of the same task behind one combiner. `members` are their names, in the order in which `route` asks them, cheapest
    first; empty are all other variants that the task lists."""

    strategy: Strategy = "vote"
    members: list[str] = field(default_factory=list)
