"""Names in a package, and reading one that a stranger may have written: nothing outside the folder, nothing unbounded, no pickle, no code.

A package is data. What could make a loader run code, follow a link or fill the memory is refused before anything is loaded.
"""

import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pp_assets.evaluation.predictions import SUFFIX, SYSTEMS, System, read_systems
from pp_assets.task.spec_file import strict_json
from pp_resources.artifacts import MANIFEST, SLUG
from pp_resources.errors import UserError
from pp_resources.fingerprint import file_sha256
from pp_resources.models.ensemble.predictor import MEMBERS

PACKAGE_VERSION = 4
SPEC, TRAINING, METRICS, SPLITS = "task_spec.json", "training.json", "metrics.jsonl", "splits.json"
REPORT, GOLDEN, LOCK, CARD, SUMS = "eval_report.json", "golden.jsonl", "repro.lock", "README.md", "SHA256SUMS"
DATA_CARD = "data_card.md"
PREDICTIONS, ADAPTER, TOKENIZER, DEPLOY = "predictions", "adapter", "tokenizer", "deploy"

MAX_FILES = 10_000
MAX_JSON = 64 << 20  # bytes; the ids of a million rows are 19 MB
MAX_UNPACKED = 512 << 20  # bytes of all predictions together
MAX_SYSTEMS = 200

_ADAPTER_FILES = {"adapter_model.safetensors", "adapter_config.json", "heads.safetensors", "heads.json", "README.md"}
_TOKENIZER_SUFFIXES = {".json", ".txt", ".model", ".jinja"}
_STARTS = {True, False, None, "gaussian", "orthogonal"}
_ADDED = ": not in the manifest"
_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def read_json(path: Path) -> Any:
    """A JSON file of bounded size, read strictly. Raises UserError naming the file."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise UserError(f"larger than {MAX_JSON >> 20} MiB", where=path.name)
        return strict_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError("missing", where=path.name) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot be read ({error})", where=path.name) from error


def read_object(path: Path) -> dict[str, Any]:
    """The same for a file that must hold a JSON object."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError("does not hold a JSON object", where=path.name)
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, its form checked: names stay inside the folder, each with a SHA-256 and a size. Raises UserError."""
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), how="give the folder of a package, which holds a manifest.json")
    if not (folder / MANIFEST).exists():
        raise UserError("no manifest.json: not a package, or one that was not written to its end", where=str(folder))
    manifest = read_object(folder / MANIFEST)
    files = manifest.get("files")
    if manifest.get("kind") != "packages" or not isinstance(files, dict) or not isinstance(manifest.get("metadata"), dict):
        raise UserError("is not the manifest of a package", where=MANIFEST)
    version = manifest["metadata"].get("package_version", PACKAGE_VERSION)
    if version != PACKAGE_VERSION:
        raise UserError(f"this release reads packages of version {PACKAGE_VERSION}, this one has {version!r}", where=MANIFEST)
    for name, entry in files.items():
        if not is_inside(name):
            raise UserError(f"the name {name!r} leaves the folder", where=MANIFEST)
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str) or not isinstance(entry.get("bytes"), int):
            raise UserError(f"no sha256 and bytes for {name!r}", where=MANIFEST)
    return manifest


def is_inside(name: str) -> bool:
    """Whether a stored name is a plain relative path."""
    path = PurePosixPath(name)
    plain = name == path.as_posix() and not path.is_absolute() and name not in ("", ".")
    return plain and ".." not in path.parts and not set(name) & set("\\\0\n\r") and ":" not in path.parts[0]


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Name (posix, relative) and status of everything that is no directory. Links are not followed."""
    waiting, seen = [folder], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                seen += 1
                if seen > MAX_FILES:
                    raise UserError(f"more than {MAX_FILES} files", where=str(folder))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield Path(entry.path).relative_to(folder).as_posix(), entry.stat(follow_symlinks=False)


def file_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files that differ from the manifest, each with what is wrong: missing, changed, not in the manifest."""
    listed, there = manifest["files"], dict(walk(folder))
    there.pop(MANIFEST, None)
    wrong = [f"{name}: missing" for name in sorted(listed.keys() - there.keys())]
    for name in sorted(listed.keys() & there.keys()):
        # The size first, so that a file that was blown up is not read.
        if there[name].st_size != listed[name]["bytes"] or file_sha256(folder / name) != listed[name]["sha256"]:
            wrong.append(f"{name}: changed")
    return wrong + [f"{name}{_ADDED}" for name in sorted(there.keys() - listed.keys())]


def use_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The problems that matter for using a package: a file that was added where nothing is loaded from (a bytecode cache, say) does not."""
    loaded = (f"{ADAPTER}/", f"{TOKENIZER}/", f"{MEMBERS}/")
    return [p for p in file_problems(folder, manifest) if not p.endswith(_ADDED) or p.startswith(loaded)]


def sum_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Lines of SHA256SUMS that differ from the manifest, and files that it lacks."""
    known = {name: entry["sha256"] for name, entry in manifest["files"].items() if name != SUMS}
    wrong, seen = [], set()
    for number, line in enumerate((folder / SUMS).read_text("utf-8").splitlines(), 1):
        found = _SUM_LINE.fullmatch(line)
        if not found:
            wrong.append(f"{SUMS}:{number}: not a line of sha256sum")
            continue
        value, name = found.groups()
        seen.add(name)
        if known.get(name) != value:
            wrong.append(f"{SUMS}:{number}: {name}: {'not a file of the package' if name not in known else 'differs from the manifest'}")
    return wrong + [f"{SUMS}: {name} is missing" for name in sorted(known.keys() - seen)]


def unsafe(folder: Path) -> list[str]:
    """What must not be loaded: links and devices, files that loaders would unpickle or run, settings that name code."""
    found = []
    for name, status in walk(folder):
        path = _inner(PurePosixPath(name))
        if not stat.S_ISREG(status.st_mode):
            found.append(f"{name}: not a plain file")
        elif path.parts[0] == MEMBERS:
            found.append(f"{name}: has no place in a member of an ensemble")
        elif path.parts[0] == ADAPTER and (len(path.parts) != 2 or path.name not in _ADAPTER_FILES):
            found.append(f"{name}: has no place in an adapter; only safetensors and their settings are loaded")
        elif path.parts[0] == TOKENIZER and (len(path.parts) != 2 or path.suffix not in _TOKENIZER_SUFFIXES):
            found.append(f"{name}: has no place in a tokenizer")
        elif path.parts[0] in (ADAPTER, TOKENIZER) and path.suffix == ".json":
            found += [f"{name}: {why}" for why in _bad_settings(path, folder / name)]
    return found


def _inner(path: PurePosixPath) -> PurePosixPath:
    """The name of a file of an ensemble's member as it would be in a package of its own; other names as they are."""
    inside = path.parts[0] == MEMBERS and len(path.parts) > 3 and path.parts[2] in (ADAPTER, TOKENIZER)
    alone = path.parts[0] == MEMBERS and path.parts[2:] == (TRAINING,)
    return PurePosixPath(*path.parts[2:]) if (inside or alone) and SLUG.match(path.parts[1]) else path


def _bad_settings(path: PurePosixPath, file: Path) -> list[str]:
    if path.name not in ("adapter_config.json", "tokenizer_config.json"):
        return []
    settings = read_object(file)
    wrong = ["auto_map names code"] if settings.get("auto_map") else []
    if path.name == "adapter_config.json":
        if settings.get("peft_type") != "LORA":
            wrong.append(f"peft_type {settings.get('peft_type')!r} is not LORA")
        if settings.get("megatron_config"):
            wrong.append("megatron_config makes peft import a module by name")
        start = settings.get("init_lora_weights")
        if not isinstance(start, str | bool | None) or start not in _STARTS:
            wrong.append(f"init_lora_weights {start!r} changes the base's weights on loading")
    return wrong


def read_all_systems(folder: Path) -> list[System]:
    """The stored predictions of every system, after checking names and unpacked size."""
    listed = read_json(folder / PREDICTIONS / SYSTEMS)
    if not isinstance(listed, list) or not all(isinstance(e, dict) and SLUG.match(str(e.get("name"))) for e in listed):
        raise UserError("does not list systems by name", where=f"{PREDICTIONS}/{SYSTEMS}")
    if len(listed) > MAX_SYSTEMS or len({e["name"] for e in listed}) != len(listed):
        raise UserError(f"more than {MAX_SYSTEMS} systems, or one twice", where=f"{PREDICTIONS}/{SYSTEMS}")
    left = MAX_UNPACKED
    for entry in listed:
        left -= _unpacked_size(folder / PREDICTIONS / f"{entry['name']}{SUFFIX}", left)
    return read_systems(folder / PREDICTIONS)


def _unpacked_size(path: Path, limit: int) -> int:
    """Bytes that a gzip file unpacks to, counted without keeping them. Raises UserError beyond `limit`."""
    total, unpacker = 0, zlib.decompressobj(wbits=31)
    try:
        with path.open("rb") as packed:
            while data := unpacker.unconsumed_tail or packed.read(1 << 16):
                total += len(unpacker.decompress(data, 1 << 20))
                if total > limit:
                    raise UserError(f"unpacks to more than {limit >> 20} MiB", where=f"{PREDICTIONS}/{path.name}")
                if unpacker.eof:
                    if unpacker.unused_data or packed.read(1):
                        raise UserError("has bytes after its end", where=f"{PREDICTIONS}/{path.name}")
                    break
    except FileNotFoundError:
        raise UserError("missing", where=f"{PREDICTIONS}/{path.name}") from None
    except zlib.error as error:
        raise UserError(f"cannot be unpacked ({error})", where=f"{PREDICTIONS}/{path.name}") from error
    return total


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a small JSON-lines file."""
    if path.stat().st_size > MAX_JSON:
        raise UserError(f"larger than {MAX_JSON >> 20} MiB", where=path.name)
    found = [strict_json(line) for line in path.read_text("utf-8").split("\n") if line]
    if not all(isinstance(row, dict) for row in found):
        raise UserError("a line does not hold a JSON object", where=path.name)
    return found


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
