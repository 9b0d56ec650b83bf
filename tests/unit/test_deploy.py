"""Ways to serve a package: the loader is run as a user runs it; files for servers that are not here are checked in form."""

import importlib.util
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_package import package, parts

from pp_assets.packaging.deploy import PromptText, modelfile
from pp_assets.packaging.lint import RUNTIMES, lint_adapter, vllm_rank

# As in an environment without this project: importing any of its packages fails.
HIDDEN = "import sys, runpy; sys.modules.update(pp_assets=None, pp_resources=None); "
HIDDEN += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def golden(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "golden.jsonl").read_text().splitlines()]


def run(folder: Path, *command: str, lines: list[str]) -> subprocess.CompletedProcess:
    environment = {
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "2",
        "PP_THREADS": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    stdin = "".join(f"{line}\n" for line in lines)
    return subprocess.run([sys.executable, *command], input=stdin, cwd=folder, env=environment, capture_output=True, text=True)


def loader(folder: Path) -> Any:
    """The loader of a package as a module."""
    place = importlib.util.spec_from_file_location("transformers_loader", folder / "deploy" / "transformers_loader.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_the_loader_answers_lines_like_the_evaluation_did():
    folder = package("lora-r8").path
    shown = golden(folder)[:3]
    done = run(folder, "deploy/transformers_loader.py", lines=[*(g["input_text"] for g in shown), ""])
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["output"] for r in records[:3]] == [json.loads(g["output"]) for g in shown]
    assert records[3] == {"input_text": "", "output": None, "valid": False, "error": "the input is empty"}


def test_the_loader_gives_distributions_where_the_project_is_installed(monkeypatch, capsys):
    folder = package("encoder-lora").path
    text = golden(folder)[0]["input_text"]
    script = str(folder / "deploy" / "transformers_loader.py")
    monkeypatch.setattr(sys, "argv", [script, "--distributions"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{text}\n"))
    runpy.run_path(script, run_name="__main__")
    record = json.loads(capsys.readouterr().out)
    assert record["choices"]["topic"][0]["value"] == record["output"]["topic"] and record["fields"]["topic"] > 0
    monkeypatch.setitem(sys.modules, "pp_assets.packaging.predict", None)  # as where it is not installed
    with pytest.raises(RuntimeError, match="distributions need promptprecision"):
        runpy.run_path(script, run_name="__main__")


def test_the_loader_of_an_encoder_can_be_imported(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    folder = package("encoder-lora").path
    line = golden(folder)[0]
    assert loader(folder).predict(line["input_text"])["output"] == json.loads(line["output"])


def test_a_causal_adapter_runs_on_plain_transformers_without_this_project(tmp_path):
    from pp_assets.task.causal_prompt import prompt_of
    from pp_assets.task.prompt import render_prompt
    from pp_resources.models.causal import CausalPredictor

    folder = package("lora-r8").path
    text = golden(folder)[0]["input_text"]
    done = run(folder, "-c", HIDDEN, "deploy/transformers_loader.py", lines=[text])
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    task, training = parts("lora-r8")[0], json.loads((folder / "training.json").read_text())
    base = Path(training["base_model_id"])
    options = {"tokenizer": folder / "tokenizer", "constrained": False, "max_new_tokens": training["max_new_tokens"]}
    free = CausalPredictor.from_adapter("free", base, folder / "adapter", task.output_schema, prompt_of(task.spec), **options)
    said = free.predict([text])[0].text
    assert record.get("answer", json.dumps(record["output"])) == said
    assert render_prompt(task.spec, text)[-1]["content"] in golden(folder)[0]["prompt"]


def test_the_plain_loader_refuses_an_encoder_another_base_and_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(RuntimeError, match="its heads need promptprecision"):
        loader(package("encoder-lora").path)._plain(None)
    folder = package("lora-r8").path
    base = Path(json.loads((folder / "training.json").read_text())["base_model_id"])
    other = Path(shutil.copytree(base, tmp_path / "base"))
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RuntimeError, match="the adapter was trained on"):
        loader(folder).load(str(other))
    with pytest.raises(RuntimeError, match="is not found here: give its folder with --base"):
        loader(folder).load(str(tmp_path / "gone"))


def prompt_text(variant: str = "lora-r8", **changes) -> PromptText:
    from dataclasses import replace

    folder, task = package(variant).path, parts(variant)[0]
    training = json.loads((folder / "training.json").read_text())
    made = PromptText.of(task.spec, training, folder / "tokenizer", Path(training["base_model_id"]))
    return replace(made, **changes)


def test_the_modelfile_holds_the_whole_prompt_around_the_input():
    text = package("lora-r8").file("deploy/Modelfile").read_text()
    template = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    system = re.search(r'SYSTEM """(.*?)"""', text, re.DOTALL)
    assert template and system
    line = golden(package("lora-r8").path)[0]
    assert template[1].replace("{{ .System }}", system[1]).replace("{{ .Prompt }}", line["input_text"]) == line["prompt"]
    for part in (
        "FROM ../../base",
        "ADAPTER ../adapter",
        "PARAMETER temperature 0",
        "PARAMETER seed 0",
        "PARAMETER num_ctx 1024",
        'stop "<|end|>"',
    ):
        assert part in text
    assert "PARAMETER num_predict 64" in text
    request = json.loads(package("lora-r8").file("deploy/ollama_request.json").read_text())
    assert request["prompt"] == line["input_text"] and request["format"]["required"] == ["topic", "order", "angry"]


def test_braces_and_quotes_of_a_prompt_do_not_end_the_template():
    training = {"base_model_id": "b", "base_weights_sha256": "0"}
    text = modelfile(prompt_text(head='Say """hi""" as {{name}}. ', system='a """ b'), training, 0)
    assert 'TEMPLATE """Say {{ "\\"\\"\\"" }}hi{{ "\\"\\"\\"" }} as {{ "{{" }}name}}. Input: {{ .Prompt }}' in text
    assert "SYSTEM" not in text and "{{ .System }}" not in text
    assert text.count('"""') == 2


def test_the_vllm_files_start_a_server_with_enough_rank_and_ask_for_the_schema(tmp_path):
    folder = package("lora-r8").path
    settings = yaml.safe_load((folder / "deploy/vllm.yaml").read_text())
    assert settings["enable-lora"] is True and settings["max-lora-rank"] == 8 and settings["max-model-len"] == 1024
    module = json.loads(settings["lora-modules"][0])
    assert module["path"] == "adapter" and module["name"] == "toy-lora-r8"
    request = json.loads((folder / "deploy/vllm_request.json").read_text())
    assert request["prompt"] == golden(folder)[0]["prompt"] and request["model"] == module["name"]
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["topic", "order", "angry"]
    # A stand-in that prints its arguments shows what the script starts.
    (tmp_path / "vllm").write_text('#!/bin/sh\nprintf "%s|" "$PWD" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    for given, base in (([], module["base_model_name"]), (["my base"], "my base")):
        command = ["sh", "deploy/vllm.sh", *given]
        done = subprocess.run(command, cwd=folder, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
        assert done.stdout == f"{folder}|serve|{base}|--config|deploy/vllm.yaml|", done.stderr


def test_an_encoder_has_no_files_for_servers_of_language_models():
    folder = package("encoder-lora").path
    assert sorted(p.name for p in (folder / "deploy").iterdir()) == ["README.md", "runtimes.json", "transformers_loader.py"]
    table = json.loads((folder / "deploy/runtimes.json").read_text())
    assert [r["runtime"] for r in table] == list(RUNTIMES) and [r["ok"] for r in table] == [True, False, False, False, False]
    assert "| vllm | no | an encoder" in (folder / "deploy/README.md").read_text()


PLAIN = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "bias": "none", "target_modules": ["q_proj", "v_proj"], "init_lora_weights": True}
LLAMA = {"architectures": ["LlamaForCausalLM"]}
EVERYWHERE = set(RUNTIMES)


@pytest.mark.parametrize(
    ("adapter", "base", "takes", "reason"),
    [
        ({}, {}, EVERYWHERE, ""),
        (
            {},
            {"architectures": ["Qwen3ForCausalLM"]},
            EVERYWHERE - {"ollama"},
            "converted for llama and gemma2 only, this base is Qwen3ForCausalLM",
        ),
        ({}, {"architectures": ["MistralForCausalLM"]}, EVERYWHERE, ""),
        ({"use_dora": True}, {}, {"transformers", "merged"}, "DoRA"),
        ({"use_rslora": True}, {}, EVERYWHERE - {"ollama", "llama.cpp"}, "write lora_alpha = alpha * sqrt(r) first"),
        ({"modules_to_save": ["lm_head"]}, {}, {"transformers", "merged"}, "modules_to_save"),
        ({"trainable_token_indices": [1]}, {}, {"transformers", "merged"}, "new tokens"),
        ({"bias": "all"}, {}, {"transformers", "merged"}, "biases were trained"),
        ({"rank_pattern": {"q_proj": 4}}, {}, {"transformers", "merged"}, "differ from module to module"),
        ({"use_qalora": True}, {}, {"transformers", "merged"}, "variant of LoRA that it does not read (use_qalora)"),
        ({"alora_invocation_tokens": [5, 6]}, {}, {"transformers", "llama.cpp"}, "leaves the instruction to the base"),
        ({"lora_alpha": 16.0}, {}, EVERYWHERE - {"ollama"}, "lora_alpha 16.0 is not a whole number"),
        ({"r": 1024}, {}, EVERYWHERE - {"vllm"}, "rank 1024 is not between 1 and 512"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, {}, EVERYWHERE - {"vllm", "ollama"}, "adapts embed_tokens"),
        ({"target_modules": "all-linear"}, {}, EVERYWHERE - {"vllm", "ollama"}, "adapts all-linear"),
        ({"init_lora_weights": "pissa_niter_4"}, {}, set(), "started by pissa_niter_4, which changes the base's weights"),
        ({}, {"quantization_config": {"bits": 4}}, EVERYWHERE - {"merged"}, "merge on the de-quantised one"),
    ],
)
def test_the_lint_says_which_runtime_takes_an_adapter_and_why(adapter, base, takes, reason):
    table = lint_adapter({**PLAIN, **adapter}, {**LLAMA, **base})
    assert {row["runtime"] for row in table if row["ok"]} == takes
    refusals = [row["reason"] for row in table if not row["ok"]]
    assert not reason or any(reason in text for text in refusals)
    assert all(row["reason"] for row in table)


def test_the_lint_names_the_precision_in_which_merging_would_round_the_adapter_away():
    merged = lint_adapter(PLAIN, LLAMA, {"float32": 1.0, "bfloat16": 0.31, "float16": 0.98})[-1]
    assert merged["ok"] and merged["reason"].startswith("merge in float16 or float32 with peft's merge_and_unload")
    assert "bfloat16 leaves 31% of its effect" in merged["reason"]


def test_vllm_is_asked_for_a_rank_that_it_offers():
    assert [vllm_rank(r) for r in (1, 8, 9, 16, 17, 300, 512)] == [8, 8, 16, 16, 32, 320, 512]
