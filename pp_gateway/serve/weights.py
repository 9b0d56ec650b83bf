"""Which variant answers an episode: the latest decision of the store, held in memory, or the declared weights; no request reads a store."""

import os
import secrets
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pp_assets.routing.policy import Routing
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import MICRO, now
from pp_resources.store.opened import Store
from pp_resources.store.read_work import decisions_on

KIND = "weights"


@dataclass(frozen=True)
class Shares:
    """Weights of the variants that answer, shares of those that get copies, and where they come from; `told` goes into every row."""

    weights: Mapping[str, float]
    shadow: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


def static(routing: Routing | None, champion: str) -> Shares:
    """The declared ones; without any the champion answers all."""
    if routing is None:
        return Shares({champion: 1.0}, {}, {"basis": "static"})
    return Shares(routing.weights, routing.shadow, {"basis": "static", "weights": routing.weights})


def decided(found: Mapping[str, Any], routing: Routing, names: Collection[str]) -> Shares | None:
    """Those of a decision, or None where it speaks of other variants or of another experiment."""
    data = found["data"]
    weights, shadow = data.get("weights", {}), data.get("shadow", {})
    sound = all(isinstance(share, int | float) and 0 <= share < float("inf") for share in (*weights.values(), *shadow.values()))
    same = data.get("state", {}).get("experiment", routing.experiment) == routing.experiment
    if not sound or not same or not any(weights.values()) or not {*weights, *shadow} <= set(names):
        return None
    return Shares(weights, shadow, {"basis": data.get("basis", "evidence"), "weights": weights, "id": found["id"]})


class Decisions:
    """The latest decision by task, read in the background. While the store is away the last ones read stay in force."""

    def __init__(self, store: Store, every: float) -> None:
        self._store, self._every = store, every
        self.tasks: Collection[str] = ()  # those that have variants to choose from
        self.latest: dict[str, dict[str, Any]] = {}
        self.read_at: int | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weights", daemon=True)
        self._thread.start()

    @property
    def age(self) -> float | None:
        """Seconds since the store was last read, None where it never was."""
        return None if self.read_at is None else (now() - self.read_at) / MICRO

    def refresh(self) -> None:
        """Read now. Raises StoreUnavailable."""
        if not self._store.exists:
            return
        found = {task: decisions_on(self._store, task, kind=KIND, limit=1) for task in self.tasks}
        self.latest = {task: rows[0] for task, rows in found.items() if rows}
        self.read_at = now()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(StoreUnavailable):  # /health tells how old what we have is
                self.refresh()
            self._closed.wait(self._every)


def sticky_key(home: Path) -> str:
    """The secret of the installation by which episodes are dealt out; made once."""
    file = home / "gateway" / "sticky.key"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        made = file.with_name(f".sticky.{secrets.token_hex(8)}")
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_hex(32))
        try:
            os.link(made, file)  # unlike a rename it never takes the place of a key that another worker has just made
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return file.read_text("utf-8").strip()
