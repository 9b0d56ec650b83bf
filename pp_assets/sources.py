"""Which of our modules a result depends on: imports followed from a module, also those inside functions."""

from functools import lru_cache
from pathlib import Path

from pp_resources.fingerprint import code_digest, read_source
from pp_resources.settings import PROJECT_ROOT

# What moves, words or records results and can change none.
NEUTRAL = frozenset(
    {
        "pp_assets.kept",
        "pp_resources.errors",
        "pp_resources.settings",
        "pp_resources.artifacts",
        "pp_resources.tracker",
        "pp_resources.tracking",
    }
)


@lru_cache(maxsize=64)
def source_digest(*modules: str) -> str:
    """SHA-256 over the code of these modules and of every module of ours that they reach."""
    return code_digest(*reached(*modules))


def reached(*modules: str) -> tuple[str, ...]:
    """The modules themselves and those that they import, directly or not, sorted (dotted names)."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in NEUTRAL:
            found.add(module)
            waiting.extend(_imports(_file(module)))
    return tuple(sorted(found))


def _imports(file: Path) -> set[str]:
    return {name for name in read_source(file).imports if name.startswith("pp_") and _file(name).is_file()}


def _file(module: str) -> Path:
    return PROJECT_ROOT.joinpath(*module.split(".")).with_suffix(".py")
