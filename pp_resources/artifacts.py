"""Artifacts are folders written once: built in a temporary folder, synced, manifest last, then renamed into place.

Layout: ``<root>/<kind>/<key>/<digest of the inputs, 16 hex>/…`` with ``manifest.json`` in it; beside the versions a file ``CURRENT``
names the one in force. A manifest present means complete. Equal inputs are never built twice.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from pp_resources.errors import UserError
from pp_resources.fingerprint import digest, file_sha256
from pp_resources.store.ids import MICRO, now

MANIFEST = "manifest.json"
SLUG = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")


@dataclass(frozen=True)
class Artifact:
    """One complete artifact folder.

    `digest` is of the content (file names and hashes); `inputs` are what it was built from, by name; `metadata` is small JSON; `reused`
    says that nothing was computed for this call; `stale_because` names the inputs that differ from the version that was current before.
    """

    kind: str
    key: str
    path: Path
    digest: str
    inputs: Mapping[str, str]
    metadata: Mapping[str, Any]
    created_at: str
    reused: bool = True
    stale_because: tuple[str, ...] = ()

    def file(self, name: str) -> Path:
        return self.path / name


class ArtifactStore:
    """Write-once folders under `root`, by kind (`datasets`, `adapters`, `packages`, …) and key (`task` or `task/variant`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def produce(self, kind: str, key: str, inputs: Mapping[str, str], build: Callable[[Path], Mapping[str, Any] | None]) -> Artifact:
        """Return the artifact that these inputs give, building it when it is not there.

        `build(folder)` fills an empty folder and may return metadata. When it raises, nothing is left behind. Another process that
        builds the same key waits. The result becomes the current version of its key.
        """
        home = self._home(kind, key)
        target = home / digest(dict(inputs))[:16]
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            if (target / MANIFEST).exists():
                found = read_artifact(target)
                self._point(home, target.name)
                return found
            before = self.current(kind, key)
            stale = tuple(sorted(k for k in {*inputs, *before.inputs} if inputs.get(k) != before.inputs.get(k))) if before else ()
            shutil.rmtree(target, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=".building-", dir=home))
            try:
                metadata = dict(build(work) or {})
                write_manifest(work, kind=kind, key=key, inputs=inputs, metadata=metadata)
                work.chmod(0o755)
                work.rename(target)
                sync(home)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            self._point(home, target.name)
        made = read_artifact(target)
        return Artifact(**{**made.__dict__, "reused": False, "stale_because": stale})

    def current(self, kind: str, key: str) -> Artifact | None:
        """The version in force, or None when nothing was ever built."""
        home = self._home(kind, key)
        try:
            return read_artifact(home / (home / "CURRENT").read_text().strip())
        except FileNotFoundError:
            return None

    def require(self, kind: str, key: str, how: str) -> Artifact:
        """Like `current`, but a missing artifact is an error that says how to make it."""
        found = self.current(kind, key)
        if found is None:
            raise UserError(f"no {kind} for {key!r} yet", where=str(self._home(kind, key)), how=how)
        return found

    def versions(self, kind: str, key: str) -> list[Artifact]:
        """Every complete version, oldest first."""
        home = self._home(kind, key)
        found = [read_artifact(p.parent) for p in home.glob(f"*/{MANIFEST}") if not p.parent.name.startswith(".")]
        return sorted(found, key=lambda a: (a.created_at, a.path.name))

    def keys(self, kind: str) -> list[str]:
        """Keys of this kind that have a current version."""
        return sorted(p.parent.relative_to(self.root / kind).as_posix() for p in (self.root / kind).rglob("CURRENT"))

    def kinds(self, key: str) -> list[str]:
        """Kinds that hold this key, or one below it (`task` stands for `task/variant` too)."""
        homes = ((folder.name, folder / key) for folder in self.root.iterdir() if SLUG.match(folder.name)) if self.root.is_dir() else ()
        return sorted(kind for kind, home in homes if any(home.glob("CURRENT")) or any(home.glob("*/CURRENT")))

    def _home(self, kind: str, key: str) -> Path:
        for part in (kind, *key.split("/")):
            if not SLUG.match(part):
                raise UserError(f"{part!r} is not a name", where=f"{kind}/{key}", how="use lower-case letters, digits, '.', '_' and '-'")
        return self.root.joinpath(kind, *key.split("/"))

    def _point(self, home: Path, name: str) -> None:
        pointer = home / "CURRENT"
        if not pointer.exists() or pointer.read_text().strip() != name:
            write_atomic(pointer, name + "\n")


def write_manifest(folder: Path, *, kind: str, key: str, inputs: Mapping[str, str], metadata: Mapping[str, Any]) -> None:
    """Hash every file in `folder`, sync it, and write `manifest.json` last."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        sync(path)
    manifest = {
        "manifest_version": 1,
        "kind": kind,
        "key": key,
        "digest": digest({name: entry["sha256"] for name, entry in files.items()}),
        "inputs": dict(inputs),
        "metadata": dict(metadata),
        "created_at": datetime.fromtimestamp(now() / MICRO, UTC).isoformat(timespec="microseconds"),
        "files": files,
    }
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def read_artifact(path: Path) -> Artifact:
    """Read a complete artifact folder. Raises FileNotFoundError when there is no manifest."""
    manifest = json.loads((path / MANIFEST).read_text("utf-8"))
    names = ("kind", "key", "digest", "inputs", "metadata", "created_at")
    return Artifact(path=path, **{name: manifest[name] for name in names})


def changed_files(path: Path) -> list[str]:
    """Files that differ from the manifest, each with what is wrong: ``name: missing``, ``name: changed``, ``name: not in the manifest``."""
    listed = json.loads((path / MANIFEST).read_text("utf-8"))["files"]
    there = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {MANIFEST}
    wrong = [f"{name}: missing" for name in sorted(listed.keys() - there)]
    wrong += [f"{name}: changed" for name in sorted(listed.keys() & there) if file_sha256(path / name) != listed[name]["sha256"]]
    return wrong + [f"{name}: not in the manifest" for name in sorted(there - listed.keys())]


def write_atomic(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old text or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    written = Path(name)
    written.chmod(0o644)
    written.replace(path)
    sync(path.parent)


def check_place(file: Path) -> None:
    """Raise UserError for the name of a file that cannot be: one of a folder, or in a folder that does not exist."""
    if file.is_dir() or not file.absolute().parent.is_dir():
        what = "is a folder" if file.is_dir() else "its folder does not exist"
        raise UserError(what, where=str(file), how="give the name of a file in a folder that exists")


def sync(path: Path) -> None:
    """Have a file, or the list of names in a folder, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
