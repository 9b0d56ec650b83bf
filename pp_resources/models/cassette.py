"""Requests and answers in a file, for tests that ask a provider without one: recorded once, replayed for ever, with no key in it."""

import difflib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.models.chat import Reply

NEAREST = 200  # recorded requests that an unknown one is compared with
SHOWN, PLACES = 60, 4  # characters of a value, and places, in the difference of two requests


class Cassette:
    """A JSONL file of {"url", "request", "reply"}, each request once. Threads may share it; "record" appends what is new to it, "replay"
    answers from it and from nothing else. Raises UserError for a file that is not there, or no such one."""

    def __init__(self, file: Path, mode: Literal["record", "replay"], secret: str | None = None) -> None:
        self.file, self.replays, self._secret = file, mode == "replay", secret
        self._lock = threading.Lock()
        if self.replays and not file.is_file():
            how = "record it first: PP_PROVIDER_CASSETTE_MODE=record"
            raise UserError("no such cassette", where=str(file), how=how)
        self._known = dict(self._read()) if file.is_file() else {}

    def played(self, url: str, request: Mapping[str, Any]) -> Reply:
        """The recorded answer. Raises UserError for a request that was not recorded, with what the nearest one has otherwise."""
        found = self._known.get(digest([url, request], ordered=True))
        if found is None:
            how = "record it: PP_PROVIDER_CASSETTE_MODE=record"
            raise UserError(f"holds no such request: {self._nearest({'url': url, **request})}", where=str(self.file), how=how)
        return Reply(**found["reply"])._replace(cached=True)

    def record(self, url: str, request: Mapping[str, Any], reply: Reply) -> None:
        """Keep an answer, unless the same request has one."""
        key, entry = digest([url, request], ordered=True), {"url": url, "request": request, "reply": reply._replace(cached=False)._asdict()}
        line = json.dumps(entry, ensure_ascii=False)
        if self._secret:
            line = line.replace(json.dumps(self._secret, ensure_ascii=False)[1:-1], "***")  # a server may repeat what it was told
        with self._lock:
            if key in self._known:
                return
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")
            self._known[key] = entry

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(self.file.read_text("utf-8").splitlines(), 1):
            try:
                entry = json.loads(line)
                Reply(**entry["reply"])
                yield digest([entry["url"], entry["request"]], ordered=True), entry
            except (ValueError, LookupError, TypeError) as error:
                raise UserError(f"is no line of a cassette ({error!r})", where=f"{self.file}:{number}", how="record it again") from None

    def _nearest(self, asked: Mapping[str, Any]) -> str:
        text = json.dumps(asked, ensure_ascii=False)
        recorded = [{"url": one["url"], **one["request"]} for one in list(self._known.values())[-NEAREST:]]
        if not recorded:
            return "nothing is recorded"
        near = max(recorded, key=lambda one: difflib.SequenceMatcher(None, text, json.dumps(one, ensure_ascii=False)).quick_ratio())
        places = list(_differences(asked, near))
        more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
        return f"the nearest one has {'; '.join(places[:PLACES])}{more}"


def _differences(asked: Any, recorded: Any, path: str = "") -> Iterator[str]:
    """Where two requests differ, in words."""
    if isinstance(asked, Mapping) and isinstance(recorded, Mapping):
        for name in [*asked, *(name for name in recorded if name not in asked)]:
            yield from _differences(asked.get(name), recorded.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(asked, list) and isinstance(recorded, list) and len(asked) == len(recorded):
        for place, (one, other) in enumerate(zip(asked, recorded)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif asked != recorded:
        yield f"{path} {_shown(recorded, asked)} instead of {_shown(asked, recorded)}"


def _shown(value: Any, beside: Any) -> str:
    """A value, of a long text the part where it begins to differ."""
    if not isinstance(value, str) or not isinstance(beside, str):
        text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
    same = next((i for i, (a, b) in enumerate(zip(value, beside)) if a != b), min(len(value), len(beside)))
    start = max(0, same - SHOWN // 3)
    cut = value[start : start + SHOWN]
    return repr(("…" if start else "") + cut + ("…" if start + SHOWN < len(value) else ""))
