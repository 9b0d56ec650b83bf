import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from pp_resources.errors import UserError
from pp_resources.fingerprint import digest, file_sha256
from pp_resources.models.bases import MINILM, OFFICIAL_SHA256, find_base, weights_sha256
from pp_resources.settings import PROJECT_ROOT

NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


def model_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def hub_cache(home: Path, model_id: str, *names: str) -> Path:
    """A snapshot as the hub's client lays it out; returns its folder."""
    repository = home / "hub" / f"models--{model_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    return model_folder(repository / "snapshots" / "c0ffee", *names)


def elsewhere(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, as the hub's client reads its settings when it is imported."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    lines = f"from pp_resources.models.bases import find_base\nfrom pp_resources.errors import UserError\n{code}"
    return subprocess.run(
        [sys.executable, "-c", lines], env=inherited | environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def refusal(model_id) -> str:
    with pytest.raises(UserError) as error:
        find_base(str(model_id))
    return str(error.value)


def test_a_local_folder_is_a_base(tmp_path, monkeypatch):
    folder = model_folder(tmp_path / "mine")
    assert find_base(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert find_base("mine") == folder


def test_the_default_encoder_is_found_without_a_hub_and_has_the_published_weights(offline):
    folder = find_base(MINILM)
    assert weights_sha256(folder) == OFFICIAL_SHA256[MINILM] == file_sha256(folder / "model.safetensors")


def test_an_unknown_base_is_refused_with_the_nearest_match(offline):
    hint = "(or give a folder with config.json and safetensors, or a reachable hub id)"
    wrong = "sentence-transformers/all-MiniLM-L6-v3"
    assert refusal(wrong) == f"unknown base model {wrong!r}; did you mean {MINILM!r}? {hint}"
    assert "; did you mean 'promptprecision/tiny-base'?" in refusal("promptprecision/tinybase")
    assert "known: promptprecision/tiny-base, sentence-transformers" in refusal("acme/x")


@pytest.mark.parametrize("model_id", ["/no/such/folder", "a/b/c", "spa ce", "../up"])
def test_what_is_no_hub_id_and_no_folder_is_unknown(model_id, offline):
    assert refusal(model_id).startswith(f"unknown base model {model_id!r}; ")


def test_a_folder_without_config_or_without_safetensors_is_refused(tmp_path):
    bare = model_folder(tmp_path / "bare", "model.safetensors")
    assert refusal(bare) == f"base model {str(bare)!r}: {bare} holds no config.json; give a Transformers model folder"
    pickled = model_folder(tmp_path / "pickled", "config.json", "pytorch_model.bin")
    assert (
        refusal(pickled) == f"base model {str(pickled)!r}: {pickled} holds no safetensors weights; convert the weights to safetensors first"
    )


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path, monkeypatch):
    folder = model_folder(tmp_path / MINILM)
    monkeypatch.chdir(tmp_path)
    assert refusal(MINILM) == f"base model {MINILM!r}: weights in {folder} differ from the published ones; install the model again"


def test_the_hash_of_shards_covers_each_of_them(tmp_path):
    one, two = (
        model_folder(tmp_path / "one", "a.safetensors", "b.safetensors"),
        model_folder(tmp_path / "two", "a.safetensors", "b.safetensors"),
    )
    (two / "b.safetensors").write_text("other")
    assert weights_sha256(one) == digest([file_sha256(one / name) for name in ("a.safetensors", "b.safetensors")])
    assert weights_sha256(one) != weights_sha256(two)


def test_a_model_in_the_hub_cache_is_found(tmp_path):
    snapshot = hub_cache(tmp_path, "acme/encoder", "config.json", "model.safetensors")
    assert elsewhere("print(find_base('acme/encoder'))", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1").stdout.strip() == str(snapshot)
    assert elsewhere("print(find_base('acme/encoder'))", HF_HOME=str(tmp_path), HF_ENDPOINT=NOWHERE).stdout.strip() == str(snapshot)


def test_a_cached_model_without_weights_is_asked_for_again_and_then_refused(tmp_path, offline):
    snapshot = hub_cache(tmp_path, "acme/encoder", "config.json", "tokenizer.json")
    assert refusal("acme/encoder").startswith(f"base model 'acme/encoder': {snapshot} holds no safetensors weights")


def test_a_hub_that_cannot_be_reached_makes_a_base_unknown(tmp_path):
    code = "try:\n    find_base('acme/encoder')\nexcept UserError as error:\n    print(error)"
    said = elsewhere(code, HF_HOME=str(tmp_path), HF_ENDPOINT=NOWHERE).stdout
    assert said.startswith("unknown base model 'acme/encoder'; ")
