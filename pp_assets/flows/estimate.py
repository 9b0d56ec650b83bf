"""How far a job is and how long it will take: from what the work says of its steps, and from how long such jobs took before."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass
class Part:
    """One thing that is counted; parts that begin before it has ended are parts of it."""

    title: str
    done: int
    total: int
    detail: str
    began: float
    first: float  # share that was done when it was first heard of: a resumed search does not start from nothing


class Estimate:
    """A `pp_resources.progress.Watcher`. `earlier` are the seconds that jobs of this kind took before."""

    def __init__(self, earlier: Sequence[float] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._earlier = list(earlier)
        self._parts: list[Part] = []
        self._reached = 0.0  # of the outermost part: between two parts of a step nothing is counted, and nothing is lost

    def hear(self, title: str, done: int, total: int, detail: str) -> None:
        """Steps of `title` are done."""
        place = next((i for i, part in enumerate(self._parts) if part.title == title), None)
        if place is None:
            part = Part(title, done, total, detail, self._clock(), done / total if total else 0.0)
            place = len(self._parts)
            self._parts.append(part)
            self._reached = self._reached if place else part.first
        # A step of the outer part is over, and so is whatever was counted within it.
        del self._parts[place + 1 :]
        part = self._parts[place]
        part.done, part.total, part.detail = done, total, detail
        if done >= total:
            del self._parts[place:]

    @property
    def parts(self) -> list[dict[str, Any]]:
        """What is under way, the outermost first."""
        return [{"title": p.title, "done": p.done, "total": p.total, "detail": p.detail} for p in self._parts]

    def share(self) -> float | None:
        """Of the outermost part, in 0..1: its steps, and of the step that is under way what its own parts say."""
        share = None
        for part in reversed(self._parts):
            share = (part.done + (share or 0.0)) / part.total
        if share is not None:
            share = self._reached = max(self._reached, share)
        return share

    def told(self) -> dict[str, Any]:
        """{parts, share, eta_s, eta_from}: seconds to the end of the outermost part by its own rate; where nothing is counted, or nothing
        was done of it yet, to the end of the job by the median of earlier ones; else None."""
        share = self.share()
        eta, source = None, None
        if share is not None and share > self._parts[0].first:
            part = self._parts[0]
            eta, source = (self._clock() - part.began) / (share - part.first) * (1 - share), f"the rate of {part.title}"
        elif self._earlier:
            eta = max(0.0, median(self._earlier) - (self._clock() - self._began))
            source = f"the median of {len(self._earlier)} earlier job{'s' if len(self._earlier) > 1 else ''}"
        return {"parts": self.parts, "share": _rounded(share), "eta_s": _rounded(eta), "eta_from": source}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
