"""A package of an activated adapter: verified, served by plain peft, and kept from runtimes that would merge it."""

import json
from pathlib import Path

import pytest
from test_deploy import golden, loader
from test_package import package, parts

from pp_assets.packaging.verify import verify_package
from pp_assets.task.causal_prompt import prompt_of
from pp_resources.models.causal import CausalPredictor


@pytest.fixture(scope="module")
def folder() -> Path:
    return package("alora-r16").path


def test_it_gives_its_golden_answers_again(folder):
    result = verify_package(folder, threads=2)
    assert result.ok, [check for check in result.checks if not check.ok]


def test_it_is_not_merged_and_not_given_to_servers_that_would_adapt_the_instruction(folder):
    table = {row["runtime"]: row for row in json.loads((folder / "deploy" / "runtimes.json").read_text())}
    assert [name for name, row in table.items() if row["ok"]] == ["transformers", "llama.cpp"]
    assert "leaves the instruction to the base" in table["merged"]["reason"]
    assert "would apply to the instruction too" in table["ollama"]["reason"]
    assert not (folder / "deploy" / "Modelfile").exists() and not (folder / "deploy" / "vllm.yaml").exists()


def test_plain_peft_begins_where_the_training_did(folder, monkeypatch):
    """The loader knows peft alone, which finds the adapter's beginning by the tokens in its settings."""
    training, task = json.loads((folder / "training.json").read_text()), parts("alora-r16")[0]
    base, texts = Path(training["base_model_id"]), [line["input_text"] for line in golden(folder)[:3]]
    options = {"tokenizer": folder / "tokenizer", "constrained": False, "max_new_tokens": training["max_new_tokens"]}
    free = CausalPredictor.from_adapter("free", base, folder / "adapter", task.output_schema, prompt_of(task.spec), **options)
    said = [answer.text for answer in free.predict(texts)]
    records = loader(folder)._plain(str(base))(texts)
    assert [record.get("answer", json.dumps(record["output"])) for record in records] == said
