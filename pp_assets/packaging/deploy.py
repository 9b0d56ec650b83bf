"""deploy/: a loader for transformers, and for causal adapters what Ollama and vLLM need, where the lint says that they take the adapter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pp_assets.packaging import transformers_loader
from pp_assets.packaging.layout import write_json
from pp_assets.packaging.lint import lint_adapter, lint_ensemble, vllm_rank
from pp_assets.task.prompt import split_prompt
from pp_assets.task.spec import TaskSpec
from pp_resources.models.causal_prompt import Prompt, PromptEncoder

LOADER = "transformers_loader.py"
# Stands for the input while the text around it is found; private-use characters, which no prompt holds.
_MARK = "\ue000text\ue001"
MAX_CONTEXT = 8192  # tokens; what a server is asked to keep, where the base could take more
_FREE = 512  # tokens that an input may have beside prompt and answer, at least


@dataclass(frozen=True)
class PromptText:
    """The whole text that a causal model reads: `head` (shared, as ids too), `before`, the input, `after`; and how an answer ends."""

    system: str
    prefix_ids: list[int]
    head: str
    before: str
    after: str
    adds_start: bool
    stop_ids: list[int]
    stops: list[str]
    max_new_tokens: int
    context: int

    @classmethod
    def of(cls, spec: TaskSpec, training: Mapping[str, Any], tokenizer_folder: Path, base: Path) -> "PromptText":
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, local_files_only=True, trust_remote_code=False)
        encoder = PromptEncoder(tokenizer, Prompt(spec.system_prompt, *split_prompt(spec)))
        before, _, after = encoder.text(_MARK).partition(_MARK)
        config = json.loads((base / "config.json").read_text("utf-8"))
        stop_ids = sorted({tokenizer.eos_token_id, *_generation_stops(base)})
        return cls(
            system=spec.system_prompt,
            prefix_ids=encoder.prefix_ids,
            head=encoder.prefix_text,
            before=before.removeprefix(encoder.prefix_text),
            after=after,
            adds_start=tokenizer.chat_template is None,
            stop_ids=stop_ids,
            stops=[str(token) for token in tokenizer.convert_ids_to_tokens(stop_ids)],
            max_new_tokens=int(training["max_new_tokens"]),
            context=int(config.get("max_position_embeddings") or MAX_CONTEXT),
        )

    def text(self, input_text: str) -> str:
        return self.head + self.before + input_text + self.after

    @property
    def window(self) -> int:
        """Context to ask a server for: room for prompt, a long input and the answer, within what the base can."""
        needed = len(self.prefix_ids) + self.max_new_tokens + _FREE
        return min(self.context, max(needed, min(self.context, MAX_CONTEXT)))


def write_deploy(
    out: Path,
    spec: TaskSpec,
    training: Mapping[str, Any],
    adapter_config: Mapping[str, Any],
    base_config: Mapping[str, Any],
    prompt: PromptText | None,
    sample: str,
) -> list[dict[str, Any]]:
    """Fill deploy/; returns the lint table. `prompt` is None but for a language model; `sample` is an input for the example requests."""
    out.mkdir(parents=True, exist_ok=True)
    if training["family"] == "ensemble":
        table = lint_ensemble(list(training["members"]))
    else:
        table = lint_adapter(adapter_config, base_config, training.get("effect", {}).get("left_after_merging"))
    takes = {row["runtime"] for row in table if row["ok"]}
    write_json(out / "runtimes.json", table)
    (out / LOADER).write_bytes(Path(transformers_loader.__file__).read_bytes())
    name = f"{spec.name}-{training['variant']}"
    parts = _readme_head(table)
    if prompt is not None:
        names = ("prefix_ids", "before", "after", "stop_ids", "max_new_tokens")
        write_json(out / "prompt.json", {key: getattr(prompt, key) for key in names})
        if "ollama" in takes:
            (out / "Modelfile").write_text(modelfile(prompt, training, spec.seed), "utf-8")
            write_json(out / "ollama_request.json", ollama_request(name, prompt, spec, sample))
            parts += _OLLAMA.format(name=name, base=training["base_model_id"], sha=training["base_weights_sha256"]).splitlines()
        if "vllm" in takes:
            settings = vllm_settings(name, prompt, training, int(adapter_config["r"]), spec.seed)
            (out / "vllm.yaml").write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
            (out / "vllm.sh").write_text(_VLLM_SH.format(base=_quoted(training["base_model_id"])), "utf-8")
            write_json(out / "vllm_request.json", vllm_request(name, prompt, spec, sample))
            parts += _VLLM.format(name=name).splitlines()
    (out / "README.md").write_text("\n".join(parts) + "\n", "utf-8")
    return table


def modelfile(prompt: PromptText, training: Mapping[str, Any], seed: int) -> str:
    """An Ollama Modelfile whose template is the whole prompt of the task: a user sends nothing but the input."""
    text = prompt.head + prompt.before
    system, once = prompt.system, prompt.system and text.count(prompt.system) == 1 and '"""' not in prompt.system
    if once:
        start, _, end = text.partition(system)
        template = f"{_go(start)}{{{{ .System }}}}{_go(end)}"
    else:
        template = _go(text)
    lines = [
        f"# The folder `base` beside the package: {training['base_model_id']}, weights SHA-256 {training['base_weights_sha256']}",
        "FROM ../../base",
        "ADAPTER ../adapter",
        f'TEMPLATE """{template}{{{{ .Prompt }}}}{_go(prompt.after)}"""',
        *([f'SYSTEM """{system}"""'] if once else []),
        "PARAMETER temperature 0",
        f"PARAMETER seed {seed}",
        f"PARAMETER num_ctx {prompt.window}",
        f"PARAMETER num_predict {prompt.max_new_tokens}",
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in prompt.stops),
    ]
    return "\n".join(lines) + "\n"


def ollama_request(name: str, prompt: PromptText, spec: TaskSpec, sample: str) -> dict[str, Any]:
    """Body for POST /api/generate, bound to the output schema."""
    options = {"temperature": 0, "seed": spec.seed, "num_ctx": prompt.window, "num_predict": prompt.max_new_tokens}
    return {"model": name, "prompt": sample, "format": spec.output_schema, "stream": False, "options": options}


def vllm_settings(name: str, prompt: PromptText, training: Mapping[str, Any], rank: int, seed: int) -> dict[str, Any]:
    """Options of `vllm serve` by name. JSON is YAML, so that --config reads the file."""
    module = {"name": name, "path": "adapter", "base_model_name": training["base_model_id"]}
    return {
        "enable-lora": True,
        "max-loras": 1,
        "max-lora-rank": vllm_rank(rank),
        "lora-modules": [json.dumps(module)],
        "max-model-len": prompt.window,
        "dtype": "auto",
        "seed": seed,
    }


def vllm_request(name: str, prompt: PromptText, spec: TaskSpec, sample: str) -> dict[str, Any]:
    """Body for POST /v1/completions: the exact text of the training, the answer bound to the output schema."""
    return {
        "model": name,
        "prompt": prompt.text(sample),
        "add_special_tokens": prompt.adds_start,  # a chat template has written its own start token
        "temperature": 0,
        "seed": spec.seed,
        "max_tokens": prompt.max_new_tokens,
        "stop_token_ids": prompt.stop_ids,
        "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": spec.output_schema}},
    }


def _generation_stops(base: Path) -> list[int]:
    file = base / "generation_config.json"
    listed = json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else None
    return [] if listed is None else listed if isinstance(listed, list) else [listed]


def _go(text: str) -> str:
    """Text as a Go template says it literally, in a Modelfile's triple quotes."""
    made = text.replace("{{", "\0").replace('"""', "\1")
    return made.replace("\0", '{{ "{{" }}').replace("\1", '{{ "\\"\\"\\"" }}')


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _readme_head(table: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [f"| {row['runtime']} | {'yes' if row['ok'] else 'no'} | {row['reason']} |" for row in table]
    return [
        "# Where this adapter runs",
        "",
        "| runtime | takes it | why |",
        "| --- | --- | --- |",
        *rows,
        "",
        "Read from the settings of adapter and base (`runtimes.json`), not tried. The proof is the replay of `golden.jsonl`: run it in",
        "your runtime and compare the answers; another precision or another decoder may turn a close choice.",
        "",
        "## transformers",
        "",
        "    python deploy/transformers_loader.py < lines.txt",
        "",
        *(line for line in (transformers_loader.__doc__ or "").splitlines()[4:]),
    ]


_OLLAMA = """
## Ollama

Put the base model's folder, or a link to it, beside the package's folder under the name `base`: {base}, weights SHA-256 `{sha}`. Then:

    ollama create {name} -f deploy/Modelfile
    curl -s http://127.0.0.1:11434/api/generate -d @deploy/ollama_request.json

The template of the Modelfile is the task's whole prompt: send the bare input. The request's `format` binds the answer to the schema."""

_VLLM = """
## vLLM

    sh deploy/vllm.sh [FOLDER OR ID OF THE BASE]
    curl -s http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' -d @deploy/vllm_request.json

`vllm.yaml` (JSON, which is YAML) holds the options; the model's name in requests is `{name}`. The request's `response_format` binds the
answer to the schema; its `prompt` is the exact text of the training with the input in it (`golden.jsonl` has more of them)."""

_VLLM_SH = """#!/bin/sh
# Serve the adapter on its base: sh deploy/vllm.sh [FOLDER OR ID OF THE BASE]. Options: vllm.yaml.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- {base}
exec vllm serve "$1" --config deploy/vllm.yaml
"""
