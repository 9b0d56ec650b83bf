"""One small real package of each family, built once; what is in it. The other package tests start from these."""

import atexit
import gzip
import json
import random
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pp_assets.evaluation.predictions import System, make_rows, read_predictions, write_systems
from pp_assets.evaluation.report import build_report, write_report
from pp_assets.packaging.golden import COUNT, choose
from pp_assets.packaging.layout import unsafe
from pp_assets.packaging.lock import lock_facts
from pp_assets.packaging.package import build_package
from pp_assets.packaging.verify import verify_package
from pp_assets.task.dataset import build_dataset, read_split
from pp_assets.task.examples import open_test_split
from pp_assets.task.spec import Task, load_task
from pp_assets.training.params import EncoderParams
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import get_recipe
from pp_resources.artifacts import Artifact, ArtifactStore, changed_files
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

# Both keys of one object are in another order than the alphabet's: a package must keep it.
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["topic", "order", "angry"],
    "properties": {
        "topic": {"enum": ["refund", "delivery", "login"]},
        "order": {"type": ["string", "null"], "x-verbatim": True},
        "angry": {"type": "boolean"},
    },
}
SAID = {
    "refund": ["give me my money back", "please refund me"],
    "delivery": ["my parcel is late", "where is it"],
    "login": ["I cannot log in", "wrong password"],
}


def write_task(folder: Path, **changes: Any) -> Task:
    """A task of 60 rows in `folder`/toy."""
    draw, rows = random.Random(3), []
    for i in range(60):
        topic, order, angry = draw.choice(list(SAID)), draw.choice([None, f"A{i}"]), draw.random() < 0.4
        text = f"{draw.choice(SAID[topic])} {f'for order {order}' if order else ''} {'!!! awful' if angry else 'thanks'}"
        text += f" {draw.getrandbits(32):x}"
        rows.append({"input_text": text, "output_json": {"topic": topic, "order": order, "angry": angry}})
    spec = {
        "version": 1,
        "name": "toy",
        "description": "Route | messages",
        "system_prompt": "You route mail.",
        "instruction_template": "Answer in JSON.\n{{ examples }}Input: {{ input_text }}\nOutput:",
        "io_schema": {"input": {"type": "string", "not": {"pattern": "^forbidden"}}, "output": SCHEMA},
        "eval_split": {"near_duplicate_threshold": 1.0},
        "limits": {"max_input_chars": 200},
        "gates": [{"metric": "schema_valid_rate", "op": ">=", "value": 0.9}],
        **changes,
    }
    home = folder / "toy"
    home.mkdir(parents=True)
    (home / "task.json").write_text(json.dumps(spec))
    (home / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_task("toy", folder)


def tiny_base(folder: Path) -> Path:
    """A Llama of random weights with a byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        [], trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False)
    )
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=1024
    )
    config.bos_token_id, config.eos_token_id = None, 0
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n")
    (folder / "LICENSE").write_text("Apache License\n")
    return folder


@lru_cache(maxsize=2)
def parts(variant: str) -> tuple[Task, Artifact, Artifact, Artifact, ArtifactStore]:
    """Task, adapter, evaluation and data set of a trained variant, and the store that they are in."""
    root = Path(tempfile.mkdtemp(prefix="pp-test-package-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    changes = {} if variant == "encoder-lora" else {"base_model_id": str(tiny_base(root / "base")), "decoding": {"max_new_tokens": 64}}
    task, store, key = write_task(root / "tasks", **changes), ArtifactStore(root / "home"), f"toy/{variant}"
    dataset = store.produce("datasets", "toy", {"a": "b"}, lambda out: build_dataset(task, out))
    train, val = read_split(dataset.path, "train"), read_split(dataset.path, "val")
    test = open_test_split(dataset.path, root / "ledger.jsonl", "toy", "test")

    def fit(out: Path) -> Any:
        from pp_assets.training import loop
        from pp_assets.training.causal import CausalRun
        from pp_assets.training.encoder import EncoderRun

        recipe = get_recipe(variant)
        if variant == "encoder-lora":
            run: Any = EncoderRun(task.spec, replace(recipe, params=EncoderParams(r=4, alpha=8, epochs=2, least_steps=1)), train, val, 0, 2)
        else:
            run = CausalRun(task.spec, replace(recipe, params=replace(recipe.params, epochs=1)), train, val[:2], 0, 2)
        return loop.train(run, out, work=root / "work")

    def evaluate(out: Path) -> Any:
        found = load_predictor(adapter.path, task.spec, 2).predict([e.input_text for e in test])
        flat = Prediction(dump_output(SCHEMA, {"topic": "refund", "order": None, "angry": False}))
        systems = [
            System(name=name, kind=kind, description=name, rows=make_rows(test, said, lambda o: dump_output(SCHEMA, o)))
            for name, kind, said in ((variant, "candidate", found), ("majority", "baseline", [flat] * len(test)))
        ]
        write_systems(out / "predictions", systems)
        write_report(build_report(task.spec, systems, variant, {"hardware": {"threads": 2}}), out)

    adapter = store.produce("adapters", key, {"a": "b"}, fit)
    return task, adapter, store.produce("evaluations", key, {"a": "b"}, evaluate), dataset, store


@lru_cache(maxsize=2)
def package(variant: str) -> Artifact:
    """The finished package. Copy it before changing anything."""
    task, adapter, evaluation, dataset, store = parts(variant)
    return store.produce(
        "packages", f"toy/{variant}", {"a": "b"}, lambda out: build_package(task, variant, adapter, evaluation, dataset, out)
    )


@pytest.fixture(params=["encoder-lora", "lora-r8"])
def made(request: Any) -> Artifact:
    return package(request.param)


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_package_holds_what_is_needed_to_use_judge_and_check_a_model(made):
    wanted = {"manifest.json", "SHA256SUMS", "README.md", "repro.lock", "task_spec.json", "splits.json", "training.json", "metrics.jsonl"}
    wanted |= {"golden.jsonl", "eval_report.json", "eval_report.md", "eval_report.html", "predictions/systems.json"}
    wanted |= {f"predictions/{name}.jsonl.gz" for name in (made.metadata["variant"], "majority")}
    wanted |= {
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
    }
    wanted |= {"deploy/README.md", "deploy/runtimes.json", "deploy/transformers_loader.py"}
    if made.metadata["family"] == "encoder":
        wanted |= {"adapter/heads.json", "adapter/heads.safetensors"}
    else:
        wanted |= {f"deploy/{n}" for n in ("prompt.json", "Modelfile", "ollama_request.json", "vllm.sh", "vllm.yaml", "vllm_request.json")}
        wanted |= {"LICENSE.base"}
    assert names(made.path) - {"tokenizer/special_tokens_map.json", "tokenizer/vocab.txt"} == wanted
    assert changed_files(made.path) == [] and unsafe(made.path) == []


def test_the_data_is_not_in_a_package(made):
    train = read_split(parts(made.metadata["variant"])[3].path, "train")
    texts = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in made.path.rglob("*") if p.is_file()]
    assert len(train) > 30
    assert not [e.input_text for e in train if any(json.dumps(e.input_text).encode()[1:-1] in text for text in texts)]


def test_checksums_are_in_the_form_that_sha256sum_reads(made):
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=made.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(names(made.path)) - 2  # itself and the manifest


def test_how_generated_rows_were_made_goes_with_what_learnt_from_them(made, tmp_path):
    task, adapter, evaluation, dataset, store = parts(made.metadata["variant"])
    told = tmp_path / "card.md"
    told.write_text("# Generated rows of toy\n")
    with_card = store.produce(
        *("packages", "toy/carded", {"a": made.metadata["variant"]}),
        lambda out: build_package(task, made.metadata["variant"], adapter, evaluation, dataset, out, told),
    )
    assert names(with_card.path) - names(made.path) == {"data_card.md"}
    assert "[how they were made](data_card.md)" in (with_card.path / "README.md").read_text()
    assert "data_card.md" not in (made.path / "README.md").read_text()
    assert all(check.ok for check in verify_package(with_card.path, replay=False).checks)


def test_equal_inputs_give_equal_bytes(made, tmp_path):
    task, adapter, evaluation, dataset, _ = parts(made.metadata["variant"])
    metadata = build_package(task, made.metadata["variant"], adapter, evaluation, dataset, tmp_path)
    assert metadata == made.metadata
    assert names(tmp_path) == names(made.path) - {"manifest.json"}
    assert not [name for name in names(tmp_path) if (tmp_path / name).read_bytes() != (made.path / name).read_bytes()]


def test_the_stored_task_is_a_task_file_with_its_keys_in_order(made, tmp_path):
    again = load_task(made.file("task_spec.json"), tmp_path)
    assert again.digest == made.metadata["task_digest"] == parts(made.metadata["variant"])[0].digest
    assert list(again.output_schema["properties"]) == ["topic", "order", "angry"]


def test_golden_prompts_show_every_kind_of_answer_once_and_are_exact(made):
    lines = [json.loads(line) for line in made.file("golden.jsonl").read_text().splitlines()]
    rows = {r.item_id: r for r in read_predictions(made.file(f"predictions/{made.metadata['variant']}.jsonl.gz"))}
    assert len(lines) == len({line["item_id"] for line in lines}) == COUNT
    assert all((rows[x["item_id"]].input_text, rows[x["item_id"]].output) == (x["input_text"], x["output"]) for x in lines)
    topics = {json.loads(r.output)["topic"] for r in rows.values()}
    assert {json.loads(line["output"])["topic"] for line in lines} == topics
    if made.metadata["family"] == "causal":
        want = f"You route mail.\n\nAnswer in JSON.\nInput: {lines[0]['input_text']}\nOutput:\n"
        assert lines[0]["prompt"] == want


def test_golden_choice_takes_all_rows_when_there_are_few_and_none_is_whole():
    rows = read_predictions(package("encoder-lora").file("predictions/majority.jsonl.gz"))[:3]
    cut = [replace(row, finish_reason="length", output="{") for row in rows]
    assert {r.item_id for r in choose(cut, SCHEMA)} == {r.item_id for r in rows}
    assert choose([rows[0], *cut[1:]], SCHEMA) == [rows[0]]


def test_the_model_card_gives_the_verdict_first_and_reads_on_the_hub(made):
    text = made.file("README.md").read_text()
    _, front, body = text.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["base_model_relation"] == "adapter" and matter["library_name"] == "peft" and matter["license"] == "apache-2.0"
    assert matter["base_model"] == made.metadata["base_model_id"]
    metrics = {m["type"]: m["value"] for m in matter["model-index"][0]["results"][0]["metrics"]}
    assert (
        metrics["object_exact_match"]
        == json.loads(made.file("eval_report.json").read_text())["systems"][0]["metrics"]["object_exact_match"]["value"]
    )
    head = [line for line in body.splitlines() if line]
    assert head[0].startswith("# toy: ") and head[1] == f"**{made.metadata['verdict']}**" and head[2].startswith("- ")
    assert "Route \\| messages" in body and "a signature" in body and made.metadata["base_weights_sha256"] in body
    linked = re.findall(r"\]\((?!http)([^)]+)\)", body)
    assert linked and all((made.path / name).is_file() for name in linked)


def test_the_lock_names_what_the_adapter_was_made_of_and_pip_reads_it(made):
    text = made.file("repro.lock").read_text()
    facts, (_, adapter, _, dataset, _) = lock_facts(text), parts(made.metadata["variant"])
    assert facts["dataset_digest"] == dataset.digest and facts["adapter_digest"] == adapter.digest
    assert facts["base_weights_sha256"] == made.metadata["base_weights_sha256"] and facts["threads"] == "2" and facts["seed"] == "0"
    assert facts["reproduce"] == f"PP_THREADS=2 pp run toy --variant {made.metadata['variant']}"
    from packaging.requirements import Requirement

    pinned = [Requirement(line) for line in text.splitlines() if not line.startswith(("#", "--"))]
    assert {"torch", "transformers", "peft", "safetensors"} <= {r.name for r in pinned}
    assert all(len(r.specifier) == 1 for r in pinned) and "promptprecision" not in {r.name for r in pinned}


def test_parts_of_different_variants_make_no_package(tmp_path):
    task, adapter, evaluation, dataset, _ = parts("encoder-lora")
    with pytest.raises(UserError, match=r"adapter of 'encoder-lora', report of 'encoder-lora'; run 'pp eval toy --variant other'"):
        build_package(task, "other", adapter, evaluation, dataset, tmp_path)


def test_a_pickle_in_an_adapter_makes_no_package(tmp_path):
    task, adapter, evaluation, dataset, _ = parts("encoder-lora")
    shutil.copytree(adapter.path, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter" / "adapter_model.bin").write_bytes(b"x")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"adapter/adapter_model.bin: has no place in an adapter; only safetensors"):
        build_package(task, "encoder-lora", replace(adapter, path=tmp_path / "adapter"), evaluation, dataset, tmp_path / "out")
