"""The training loop of both families.

The order of things is fixed: seed, then build, then train; so the same seed, data, thread count and processor type give the same bytes,
also after a kill and a resume.
"""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from pp_assets.training.checkpoint import load_checkpoint, save_checkpoint
from pp_assets.training.run import Run
from pp_resources.memory import give_back
from pp_resources.progress import steps

CHECKPOINT_SECONDS = 60.0
LOG_EVERY = 10  # steps; a row in the tracking store for each would cost more than the step


@dataclass
class _State:
    """Where a run stands; with the tensors it is all that a checkpoint needs. `loss_sum` is over the `loss_count` rows or tokens of the
    epoch so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_epoch: int = 0
    best_score: tuple[float, ...] = (-math.inf,)
    history: list[dict[str, Any]] = field(default_factory=list)


def train(run: Run, out: Path, *, work: Path, on_metrics: Callable[[dict[str, Any]], None] = lambda _values: None) -> dict[str, Any]:
    """Fill `out` with what `run` writes; returns metadata (seconds, epochs, scores of the best one).

    `work` holds checkpoints: after a kill the same call goes on and gives the same bytes. The weights of the epoch that is best on the
    validation rows are kept (`Run.goodness`), the last ones when there is no validation row; both are averages over the last steps where
    the recipe wants that. `on_metrics` hears of every tenth step, and of every epoch with the `best_epoch` so far.
    """
    began = time.monotonic()
    state, best = _resume(run, work)
    out.mkdir(parents=True, exist_ok=True)
    with steps(run.recipe.name, run.epochs * run.steps_per_epoch, state.step) as advance:
        saved = time.monotonic()
        while state.epoch < run.epochs and not _out_of_patience(run, state):
            for batch in run.batches(state.epoch)[state.batch :]:
                loss, count = run.step(batch, state.step)
                state.step, state.batch = state.step + 1, state.batch + 1
                state.loss_sum, state.loss_count = state.loss_sum + loss * count, state.loss_count + count
                advance(f"epoch {state.epoch + 1}/{run.epochs} loss {loss:.3f}")
                if state.step % LOG_EVERY == 0:
                    on_metrics({"step": state.step, "loss": loss, "lr": run.optimizer.param_groups[0]["lr"]})
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    _save(run, work, state, best)
                    saved = time.monotonic()
            entry: dict[str, Any] = {"epoch": state.epoch + 1, "step": state.step, "train_loss": state.loss_sum / state.loss_count}
            state.epoch, state.batch, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0
            if run.val:
                with run.averaged():
                    entry |= run.evaluate()
                    if (score := run.goodness(entry)) > state.best_score:
                        state.best_score, state.best_epoch, best = score, state.epoch, run.tensors()
            state.history.append(entry)
            on_metrics(entry | {"best_epoch": state.best_epoch})
            give_back()
    run.load_tensors(best or run.average)
    stop = "patience" if state.epoch < run.epochs else "all epochs done"
    kept_epoch = state.best_epoch or state.epoch
    run.write(out, {"epochs": state.epoch, "steps": state.step, "best_epoch": kept_epoch, "stop_reason": stop, "history": state.history})
    shutil.rmtree(work, ignore_errors=True)
    kept = state.history[kept_epoch - 1]
    seconds = round(time.monotonic() - began, 2)
    return {"seconds": seconds, "epochs": state.epoch, "trainable_parameters": run.trainable, **kept, "stop_reason": stop}


def _out_of_patience(run: Run, state: _State) -> bool:
    return bool(state.best_epoch) and state.epoch - state.best_epoch >= run.recipe.trained.patience


def _save(run: Run, work: Path, state: _State, best: dict[str, Tensor]) -> None:
    kept = {"now": run.tensors(), "average": run.average, "best": best}
    tensors = {f"{which}/{n}": t for which, weights in kept.items() for n, t in weights.items()}
    save_checkpoint(work, state.step, tensors, {"adamw": run.optimizer}, {"run": run.identity, **asdict(state)})


def _resume(run: Run, work: Path) -> tuple[_State, dict[str, Tensor]]:
    """State and best weights of the last checkpoint of this very run; a fresh start when there is none or it is of another run."""
    found = load_checkpoint(work, {"adamw": run.optimizer}, only_if=lambda stored: stored["run"] == run.identity, device=run.device)
    if found is None:
        shutil.rmtree(work, ignore_errors=True)
        return _State(), {}
    _, tensors, stored = found
    stored.pop("run")
    now, run.average, best = (
        {n.removeprefix(which): t for n, t in tensors.items() if n.startswith(which)} for which in ("now/", "average/", "best/")
    )
    run.load_tensors(now)
    return _State(**{**stored, "best_score": tuple(stored["best_score"])}), best
