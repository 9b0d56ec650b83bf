"""Waits so that no more is asked of a server in a minute than it allows."""

import threading
import time

MINUTE = 60.0


class Rate:
    """Two token buckets, of requests and of tokens, each as large as its limit of a minute, full at first. Threads share it.

    What a request takes is estimated when it goes, and put right when its answer is there: the bucket may then be below empty, and
    those who come wait longer. `hold` keeps all back, as a server asks that says 429.
    """

    def __init__(self, requests: float | None = None, tokens: float | None = None) -> None:
        self._requests, self._tokens = _Bucket(requests), _Bucket(tokens)
        self._held_until, self._lock = 0.0, threading.Lock()

    def take(self, tokens: float) -> None:
        """Wait until one request of so many tokens may go."""
        while (wait := self._wait(tokens)) > 0:
            time.sleep(wait)

    def settle(self, estimated: float, real: float) -> None:
        """What was estimated took so much."""
        with self._lock:
            self._tokens.level -= real - estimated

    def hold(self, seconds: float) -> None:
        """Nobody goes for so long."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _wait(self, tokens: float) -> float:
        with self._lock:
            now = time.monotonic()
            # A request beyond the size of the bucket goes when the bucket is full, else it would never go.
            wait = max(self._held_until - now, self._requests.until(1, now), self._tokens.until(tokens, now))
            if wait <= 0:
                self._requests.level -= 1
                self._tokens.level -= tokens
            return wait


class _Bucket:
    def __init__(self, size: float | None) -> None:
        self.size, self.level, self.at = size, size or 0.0, time.monotonic()

    def until(self, wanted: float, now: float) -> float:
        """Seconds until so much is in it."""
        if self.size is None:
            return 0.0
        self.level = min(self.size, self.level + (now - self.at) * self.size / MINUTE)
        self.at = now
        return (min(wanted, self.size) - self.level) * MINUTE / self.size
