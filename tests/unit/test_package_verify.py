"""What verification finds: damage, edits, and what a stranger's package must not do. The package is a copy of a real one."""

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_package import package, parts

from pp_assets.evaluation.predictions import read_systems, write_systems
from pp_assets.evaluation.report import build_report, write_report
from pp_assets.packaging import layout
from pp_assets.packaging.layout import file_problems, is_inside, read_manifest
from pp_assets.packaging.package import _write_sums
from pp_assets.packaging.verify import Check, verify_package
from pp_resources.artifacts import write_manifest
from pp_resources.errors import UserError

KINDS = [
    "adapter/adapter_model.safetensors",
    "adapter/adapter_config.json",
    "adapter/heads.safetensors",
    "tokenizer/tokenizer.json",
    "predictions/encoder-lora.jsonl.gz",
    "predictions/systems.json",
    "deploy/transformers_loader.py",
    "eval_report.json",
    "eval_report.html",
    "eval_report.md",
    "golden.jsonl",
    "metrics.jsonl",
    "repro.lock",
    "splits.json",
    "task_spec.json",
    "training.json",
    "README.md",
    "SHA256SUMS",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(package("encoder-lora").path, tmp_path / "copy"))


def forge(folder: Path, **metadata: Any) -> None:
    """Rewrite checksums and manifest to fit, as somebody who hides an edit would."""
    old = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    _write_sums(folder)
    write_manifest(folder, kind="packages", key=old["key"], inputs=old["inputs"], metadata={**old["metadata"], **metadata})


def edit(file: Path, change: Any) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value, indent=1, ensure_ascii=file.name == "eval_report.json") + "\n")


def failed(folder: Path, **options: Any) -> dict[str, str]:
    """Detail of each failed check by name."""
    result = verify_package(folder, **{"replay": False, **options})
    found = {check.name: check.detail for check in result.checks if not check.ok}
    assert result.ok == (not found)
    return found


@pytest.mark.parametrize("variant", ["encoder-lora", "lora-r8"])
def test_a_copied_package_is_proved_without_an_installation(variant, tmp_path, monkeypatch):
    monkeypatch.setenv("PP_HOME", str(tmp_path / "nowhere"))
    copy = Path(shutil.copytree(package(variant).path, tmp_path / "copy"))
    result = verify_package(copy)
    assert result.ok, result.checks
    assert [c.name for c in result.checks] == ["package", "files", "checksums", "spec", "items", "report", "texts", "golden", "replay"]
    assert result.checks[-1].detail.startswith("8 golden prompts gave the same text")
    assert not (tmp_path / "nowhere").exists() and file_problems(copy, read_manifest(copy)) == []
    assert result.as_dict()["checks"][0]["name"] == "package"


def test_one_changed_byte_is_named_in_every_kind_of_file(folder):
    manifest = read_manifest(folder)
    for name in KINDS:
        whole = (folder / name).read_bytes()
        place = len(whole) // 2
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert file_problems(folder, manifest) == [f"{name}: changed"]
        (folder / name).write_bytes(whole)
    assert file_problems(folder, manifest) == []


def test_missing_and_added_files_are_named_and_nothing_is_loaded_then(folder):
    (folder / "splits.json").unlink()
    (folder / "notes.txt").write_text("x")
    result = verify_package(folder)
    found = {c.name: c for c in result.checks if not c.ok}
    assert found["files"].detail == "splits.json: missing; notes.txt: not in the manifest"
    assert found["items"].detail == "splits.json: missing"
    assert found["replay"] == Check("replay", False, "not made: files have changed", skipped=True)


def test_a_checksum_that_differs_from_the_manifest_is_named(folder):
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    sums[0] = "0" * 64 + sums[0][64:]
    (folder / "SHA256SUMS").write_text("\n".join([*sums[:-1], "junk"]) + "\n")
    manifest = read_manifest(folder)
    write_manifest(folder, kind="packages", key="toy/x", inputs={}, metadata=manifest["metadata"])
    detail = failed(folder)["checksums"]
    assert detail.startswith("SHA256SUMS:1: LICENSE" if "LICENSE.base" in manifest["files"] else "SHA256SUMS:1: README.md: differs from")
    assert f"SHA256SUMS:{len(sums)}: not a line of sha256sum" in detail and f"SHA256SUMS: {sums[-1][66:]} is missing" in detail


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["verdict"].update(effect=0.9), "eval_report.json: verdict.effect: the report says 0.9, the predictions give"),
        (lambda r: r["systems"][0]["metrics"]["object_exact_match"].update(value=0.99), "systems[0].metrics.object_exact_match.value"),
        (lambda r: r["fields"][1]["test"].update(p_holm=0.0), "fields[1].test.p_holm"),
    ],
)
def test_an_edited_report_is_found_by_recomputing_it_although_the_hashes_fit(folder, change, says):
    edit(folder / "eval_report.json", change)
    forge(folder)
    found = failed(folder)
    assert says in found["report"] and "files" not in found


def test_a_nicer_verdict_is_found_in_the_report_the_texts_and_the_manifest(folder):
    label = json.loads((folder / "eval_report.json").read_text())["verdict"]["label"]
    for name in ("README.md", "eval_report.html", "eval_report.md"):
        text = (folder / name).read_text()
        assert label in text
        (folder / name).write_text(text.replace(label, "SHIP IT"))
    forge(folder, verdict="SHIP IT")
    found = failed(folder)
    assert found.keys() == {"report", "texts"}
    assert found["report"] == f"the manifest says 'SHIP IT', eval_report.json {label!r}"
    assert all(f"{name}:" in found["texts"] for name in ("README.md", "eval_report.html", "eval_report.md")) and "SHIP IT" in found["texts"]


def test_a_text_that_another_version_wrote_says_so(folder):
    (folder / "README.md").write_text((folder / "README.md").read_text().replace("were not measured", "are fine"))
    forge(folder, written_by="0.0.9")
    assert "written by version 0.0.9, this is" in failed(folder)["texts"]


def test_answers_to_other_items_or_texts_are_found(folder):
    systems = read_systems(folder / "predictions")
    rows = systems[0]["rows"]
    write_systems(folder / "predictions", [{**systems[0], "rows": rows[1:]}, *systems[1:]])
    forge(folder)
    assert failed(folder)["items"] == f"predictions of encoder-lora: test item {rows[0].item_id} has no answer"

    easier = json.dumps({"topic": "refund", "order": None, "angry": json.loads(rows[0].expected)["angry"] is False})
    changed = [{**s, "rows": [replace(r, expected=easier) if r.item_id == rows[0].item_id else r for r in s["rows"]]} for s in systems]
    write_systems(folder / "predictions", changed)
    forge(folder)
    assert failed(folder)["items"].endswith(f"input or expected output of {rows[0].item_id} is not that of its id")


def test_a_changed_task_is_found(folder):
    edit(folder / "task_spec.json", lambda spec: spec["gates"].clear())
    forge(folder)
    found = failed(folder)
    assert found["spec"].startswith("task_spec.json has digest") and "verdict.gates" in found["report"]


def test_a_forger_who_rewrites_everything_is_only_found_by_the_replay(folder):
    task = parts("encoder-lora")[0]
    systems = read_systems(folder / "predictions")
    right = [{**s, "rows": [replace(r, output=r.expected) for r in s["rows"]]} if s["kind"] == "candidate" else s for s in systems]
    write_systems(folder / "predictions", right)
    report = build_report(task.spec, right, "encoder-lora", json.loads((folder / "eval_report.json").read_text())["provenance"])
    write_report(report, folder)
    rows = {r.item_id: r for r in right[0]["rows"]}
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]
    (folder / "golden.jsonl").write_text("".join(json.dumps({**g, "output": rows[g["item_id"]].output}) + "\n" for g in golden))
    forge(folder, verdict=report["verdict"]["label"])
    found = failed(folder, replay=True)
    assert found.keys() == {"texts", "replay"}
    assert "golden answers differ" in found["replay"] and "Another type of processor" in found["replay"]


def test_a_missing_base_leaves_the_replay_open_and_no_replay_is_enough_without(folder, tmp_path):
    edit(folder / "training.json", lambda t: t.update(base_model_id=str(tmp_path / "gone")))
    forge(folder)
    found = failed(folder, replay=True)
    assert found["replay"].startswith("skipped: base not found") and "--no-replay" in found["replay"]
    assert verify_package(folder, replay=False).checks[-1] == Check("replay", True, "not asked for", skipped=True)


def test_wrong_weights_of_the_base_are_refused(folder):
    edit(folder / "training.json", lambda t: t.update(base_weights_sha256="0" * 64))
    forge(folder)
    found = failed(folder, replay=True)
    assert "name different base weights" in found["spec"] and "need SHA-256 000" in found["replay"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", "C:/x", "./a", "", ".", "a\nb"])
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    assert not is_inside(name)
    edit(folder / "manifest.json", lambda m: m["files"].update({name: {"sha256": "0" * 64, "bytes": 1}}))
    assert "leaves the folder" in failed(folder, replay=True)["package"]


def test_links_devices_pickles_and_settings_that_name_code_are_refused(folder):
    (folder / "adapter" / "adapter_model.bin").write_bytes(b"\x80\x04")
    assert "adapter/adapter_model.bin: has no place in an adapter" in failed(folder)["package"]
    (folder / "adapter" / "adapter_model.bin").unlink()
    (folder / "tokenizer" / "tokenization.py").write_text("")
    assert failed(folder)["package"] == "tokenizer/tokenization.py: has no place in a tokenizer"
    (folder / "tokenizer" / "tokenization.py").unlink()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/etc/passwd")
    assert failed(folder)["package"] == "link: not a plain file; pipe: not a plain file"
    (folder / "pipe").unlink()
    (folder / "link").unlink()
    for key, value, says in (
        ("peft_type", "XLORA", "peft_type 'XLORA' is not LORA"),
        ("megatron_config", {"a": 1}, "megatron_config makes peft import a module by name"),
        ("init_lora_weights", "pissa", "init_lora_weights 'pissa' changes the base's weights"),
        ("init_lora_weights", [1], "init_lora_weights [1] changes the base's weights"),
        ("auto_map", {"AutoModel": "x.y"}, "auto_map names code"),
    ):
        whole = (folder / "adapter" / "adapter_config.json").read_text()
        edit(folder / "adapter" / "adapter_config.json", lambda c, key=key, value=value: c.update({key: value}))
        assert says in failed(folder)["package"]
        (folder / "adapter" / "adapter_config.json").write_text(whole)


def test_bombs_are_not_unpacked_and_huge_files_are_not_parsed(folder, monkeypatch):
    monkeypatch.setattr(layout, "MAX_UNPACKED", 1 << 20)
    monkeypatch.setattr(layout, "MAX_JSON", 1 << 20)
    (folder / "predictions" / "majority.jsonl.gz").write_bytes(gzip.compress(b"0" * (3 << 20)))
    (folder / "splits.json").write_bytes(b" " * (2 << 20))
    found = failed(folder)
    assert found["report"].startswith("predictions/majority.jsonl.gz: unpacks to more than")
    assert found["items"] == "splits.json: larger than 1 MiB"


def test_a_second_gzip_member_and_names_of_systems_that_are_paths_are_refused(folder):
    file = folder / "predictions" / "majority.jsonl.gz"
    whole = file.read_bytes()
    file.write_bytes(whole + gzip.compress(b"{}"))
    assert failed(folder)["report"] == "predictions/majority.jsonl.gz: has bytes after its end"
    file.write_bytes(whole[:-9])
    assert "majority.jsonl.gz" in failed(folder)["report"]
    file.write_bytes(b"not gzip")
    assert "cannot be unpacked" in failed(folder)["report"]
    edit(folder / "predictions" / "systems.json", lambda s: s[0].update(name="../../secret"))
    assert failed(folder)["report"] == "predictions/systems.json: does not list systems by name"


@pytest.mark.parametrize("junk", ["", "[]", "null", "[" * 100_000, '{"a": NaN}', '{"a": 1, "a": 2}', "{}"])
def test_junk_in_any_json_file_is_a_failed_check_and_no_crash(folder, junk):
    for name in ("eval_report.json", "task_spec.json", "training.json", "splits.json", "predictions/systems.json", "golden.jsonl"):
        (folder / name).write_text(junk)
    assert failed(folder).keys() == {"files", "spec", "items", "report", "texts", "golden"}
    (folder / "manifest.json").write_text(junk)
    assert list(failed(folder)) == ["package"]


def test_what_is_no_package_is_told(tmp_path):
    assert "no manifest.json" in failed(tmp_path)["package"]
    assert "no such folder" in failed(tmp_path / "x")["package"]
    write_manifest(tmp_path, kind="adapters", key="a/b", inputs={}, metadata={})
    assert failed(tmp_path)["package"] == "manifest.json: is not the manifest of a package"
    write_manifest(tmp_path, kind="packages", key="a/b", inputs={}, metadata={"package_version": 9})
    with pytest.raises(UserError, match=f"reads packages of version {layout.PACKAGE_VERSION}, this one has 9"):
        read_manifest(tmp_path)
