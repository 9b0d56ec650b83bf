"""Is everything that a user installs with the project free to use in a product? Also writes the pinned list of it.

    python -m bench.licences            every distribution that the runtime needs, with its licence; exit code 1 when one is not permissive
    python -m bench.licences --pins     the pinned list for .ci/constraints.txt: runtime and all extras, as installed here

Licences are read from the installed metadata: License-Expression (SPDX), else classifiers, else the License field.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
EXTRAS = ("dev", "bench", "postgres", "clickhouse", "examples")
# What licences call themselves, in any of the three metadata fields, in lower case.
PERMISSIVE = re.compile(
    r"\b(mit(-0|-cmu)?|expat|apache([ -]2(\.0)?|[ -]software)?|bsd([ -][0-3](-clause)?)?|0bsd|isc|hpnd|psf(-2\.0)?"
    r"|python software foundation|zlib|unlicense|cc0-1\.0|bsl-1\.0|blueoak|llvm-exception)\b"
)
RESTRICTED = re.compile(r"\b(a?gpl|lgpl|gnu|sspl|busl|business source|cc-by-nc|non-?commercial|proprietary|commercial)\b")
# Weak copyleft by file, or metadata that says nothing: each looked at, with the reason why it may stay.
EXCEPTIONS = {
    "certifi": "MPL-2.0, copyleft by file: a list of certificates, used as it is",
    "orjson": "MPL-2.0, copyleft by file: used as it is",
    "tqdm": "MPL-2.0, copyleft by file: used as it is",
    "regex": "CNRI-Python: the permissive licence of Python 1.6",
    "huey": "metadata says nothing; the licence file is MIT",
    "skops": "metadata says nothing; the licence file is MIT",
}
# The CUDA build of torch brings NVIDIA's own libraries, which may be passed on with it. Nothing here needs them on a processor.
VENDOR = ("nvidia-", "cuda-")


@dataclass(frozen=True)
class Found:
    """One distribution and what its metadata says."""

    name: str
    version: str
    licence: str
    problem: str = ""


def declared(extras: Iterable[str] = ()) -> list[str]:
    """The requirements that pyproject.toml states, with those of the extras."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Every installed distribution that the requirements reach, by canonical name. Raises PackageNotFoundError for one that is missing."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = _wanted(requirements, "")
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            found[name] = distribution(name)
            waiting += _wanted(found[name].requires or (), extra)
    return dict(sorted(found.items()))


def _wanted(requirements: Iterable[str], extra: str) -> list[tuple[str, str]]:
    """Canonical name and extra of each requirement that holds on this machine."""
    needs = [need for need in map(Requirement, requirements) if need.marker is None or need.marker.evaluate({"extra": extra})]
    return [(canonicalize_name(need.name), wanted) for need in needs for wanted in ("", *need.extras)]


def licence_of(found: Distribution) -> str:
    """What the metadata says: the SPDX expression, else the classifiers, else the first line of the License field; "" when nothing."""
    said = found.metadata
    # Not said[name]: with the backport importlib_metadata loaded that raises for a field that is not there.
    if expression := said.get("License-Expression"):
        return str(expression)
    classifiers = [c for c in said.get_all("Classifier") or () if c.startswith("License :: ") and c != "License :: OSI Approved"]
    if classifiers:
        return " AND ".join(c.rpartition(" :: ")[2] for c in classifiers)
    return next((text.strip() for text in str(said.get("License") or "").splitlines() if text.strip()), "")


def judge(name: str, licence: str) -> str:
    """Why a licence is no permissive one, "" when it is. Each part of ``A AND B`` must be; one part of ``A OR B`` is enough."""
    if name in EXCEPTIONS or name.startswith(VENDOR):
        return ""
    if not licence:
        return "states no licence"
    for part in re.split(r"\s+AND\s+", licence):
        choices = [choice.strip("() ").lower() for choice in re.split(r"\s+OR\s+", part)]
        if not any(PERMISSIVE.search(choice) and not RESTRICTED.search(choice) for choice in choices):
            return f"{part!r} is not in the list of permissive licences"
    return ""


def report(extras: Iterable[str] = ()) -> list[Found]:
    """All of the closure, judged."""
    made = []
    for name, found in closure(declared(extras)).items():
        licence = licence_of(found)
        made.append(Found(name, found.version, licence, judge(name, licence)))
    return made


def pins() -> list[str]:
    """``name==version`` of the closure with all extras, without local suffixes (`+cpu`) and what torch pins itself."""
    found = closure(declared(EXTRAS)).items()
    return [f"{name}=={one.version.partition('+')[0]}" for name, one in found if not name.startswith(VENDOR)]


def main() -> int:
    try:
        if "--pins" in sys.argv[1:]:
            print("# Everything that the project needs, with all extras, as tested. Written by: make constraints")
            print("\n".join(pins()))
            return 0
        found = report()
    except PackageNotFoundError as error:
        print(f"{error.name} is not installed: run 'make install'", file=sys.stderr)
        return 2
    for one in found:
        print(f"{one.name:<32} {one.version:<16} {one.licence[:60]}{'   << ' + one.problem if one.problem else ''}")
    wrong = [one for one in found if one.problem]
    print(f"{len(found)} distributions, {len(wrong)} not permissive")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
