"""Which examples an input is shown: the nearest, of these the ones that say something new, as many as there is room for.

k nearest neighbours (Liu et al. 2022), re-ranked by maximal marginal relevance (Carbonell and Goldstein 1998), at most two of a label.
"""

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pp_assets.prompts.dicl.index import Index, Worked
from pp_resources.errors import UserError

Embed = Callable[[Sequence[str]], np.ndarray]
Cost = Callable[[Worked], int]
EMPTY = Index((), np.zeros((0, 0), np.float32))


@dataclass(frozen=True)
class Choosing:
    """How examples are chosen: `k` of the `pool` nearest, at most `per_label` of one label (examples without one are not counted), none
    farther than `max_distance` (1 - cosine), `tokens` at most in all. `relevance` weighs likeness to the input against unlikeness to
    what is chosen already; 1: the nearest."""

    k: int = 4
    pool: int = 20
    per_label: int = 2
    max_distance: float | None = None
    tokens: int | None = None
    relevance: float = 0.7

    def __post_init__(self) -> None:
        if self.k < 0 or self.pool < self.k or self.per_label < 1 or not 0 <= self.relevance <= 1:
            raise UserError(f"cannot be chosen so: {self}", where="dicl", how="0 <= k <= pool, per_label >= 1, 0 <= relevance <= 1")


@dataclass(frozen=True)
class Shown:
    """A chosen example (a `Shot`) and its cosine to the input."""

    id: str
    input_text: str
    output: dict[str, Any]
    label: str
    similarity: float


class Retriever:
    """Chooses examples from an index in memory, which any thread may exchange for a newer one. Nothing here reads a disk or a network.

    `embed` makes unit vectors of texts, needed only where texts are asked for.
    """

    def __init__(self, embed: Embed | None = None, index: Index = EMPTY) -> None:
        self.embed, self._index = embed, index

    @property
    def index(self) -> Index:
        """The examples in force."""
        return self._index

    def swap(self, index: Index) -> None:
        """Put another index in place: who has begun to choose goes on with the one before."""
        index.known  # noqa: B018  computed here, so that no request waits for it
        self._index = index

    def select(
        self, query: str | np.ndarray, choosing: Choosing | None = None, *, vector: np.ndarray | None = None, cost: Cost | None = None
    ) -> list[Shown]:
        """The examples for an input, the most similar last; fewer than `k` where no more are near, allowed or fit. `query` is the input, or
        its vector; give both (`vector`) where the vector is known already. `cost` counts the tokens of an example in the prompt. Equal
        cosines are decided by id."""
        choosing, index = choosing or Choosing(), self._index
        if not len(index) or not choosing.k:
            return []
        text = query if isinstance(query, str) else None
        if vector is None:
            vector = self.vector(query) if isinstance(query, str) else query
        places, cosines = index.nearest(vector, choosing.pool, text)
        if choosing.max_distance is not None:
            near = 1 - cosines <= choosing.max_distance
            places, cosines = places[near], cosines[near]
        chosen = _diverse(index, places, cosines, choosing, cost or rough_tokens)
        shown = [(float(cosines[i]), index.examples[places[i]]) for i in chosen]
        shown.sort(key=lambda one: (one[0], one[1].id))
        return [Shown(one.id, one.input_text, one.output, one.label, similarity) for similarity, one in shown]

    def vector(self, text: str) -> np.ndarray:
        """The unit vector of a text (size,)."""
        if self.embed is None:
            raise UserError("a text was given and no encoder", where="dicl", how="give the retriever an encoder, or vectors")
        return self.embed([text])[0]


def _diverse(index: Index, places: np.ndarray, cosines: np.ndarray, choosing: Choosing, cost: Cost) -> list[int]:
    """Places in `places` by maximal marginal relevance; of equal ones the nearest."""
    alike = index.matrix[places] @ index.matrix[places].T
    chosen: list[int] = []
    left, counts, room = list(range(len(places))), Counter[str](), choosing.tokens
    while left and len(chosen) < choosing.k:
        said = alike[:, chosen].max(1) if chosen else np.zeros(len(places))
        worth = choosing.relevance * cosines - (1 - choosing.relevance) * said
        best = max(left, key=lambda i: (worth[i], -i))
        left.remove(best)
        example = index.examples[places[best]]
        if example.label and counts[example.label] >= choosing.per_label:
            continue
        if room is not None:
            tokens = cost(example)
            if tokens > room:
                continue
            room -= tokens
        counts[example.label] += 1
        chosen.append(best)
    return chosen


def rough_tokens(example: Worked) -> int:
    """Tokens where no tokenizer is at hand: one for every three bytes, which counts English and JSON too high rather than too low."""
    from pp_resources.fingerprint import canonical_json

    return 1 + len((example.input_text + canonical_json(example.output)).encode()) // 3


class Refresher:
    """Keeps a retriever up to date in a thread of its own: looks at a cheap `mark` every `seconds`, and loads when it has changed.

    While the store cannot be read the retriever keeps what it has; `error` says why. `after` is called when there was something new. Ends
    with `close`.
    """

    def __init__(
        self,
        retriever: Retriever,
        mark: Callable[[], Hashable],
        load: Callable[[], Index],
        seconds: float = 5.0,
        after: Callable[[], None] | None = None,
    ) -> None:
        self._retriever, self._mark, self._load, self._seconds, self._after = retriever, mark, load, seconds, after
        self._seen: Hashable = None
        self._stop = threading.Event()
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None

    def refresh(self) -> bool:
        """Look now; whether there was something new. Raises what the store raises."""
        with self._one:
            mark = self._mark()
            if mark == self._seen:
                return False
            self._retriever.swap(self._load())
            # What was written while the index was loaded changes the mark, and is loaded next time.
            self._seen = mark
            if self._after is not None:
                self._after()
            return True

    def start(self) -> "Refresher":
        """Refresh in the background from now on."""
        self._thread = threading.Thread(target=self._run, name="dicl", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
                self.error = None
            except Exception as error:  # serving goes on with the examples that are there
                self.error = error
            self._stop.wait(self._seconds)
