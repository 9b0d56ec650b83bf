"""The lists of words and sentences that the suite works with, from the YAML files beside this module."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from pp_resources.fingerprint import digest

FOLDER = Path(__file__).parent
FILES = ("texts.yaml", "slots.yaml")


@lru_cache(maxsize=len(FILES))
def read_list(name: str) -> dict[str, Any]:
    """One of the files, parsed."""
    found = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def lists_digest() -> str:
    """Digest of what the lists say: other words, other cases."""
    return digest([read_list(name) for name in FILES])
