"""Answer lines of text with this package, one JSON record a line:

    python deploy/transformers_loader.py [--base FOLDER] [--distributions] < lines.txt

or from Python: ``from transformers_loader import load, predict`` (Python then leaves a __pycache__, which `pp package verify` will name).
With promptprecision installed the package's own predictor answers, as it was evaluated. Without it a causal adapter runs on plain
transformers and peft (free greedy decoding, so that answers may differ and may be invalid); encoders and ensembles need promptprecision.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
Answer = Callable[[list[str]], list[dict[str, Any]]]


@lru_cache(maxsize=1)
def load(base: str | None = None, distributions: bool = False) -> Answer:
    """A function from texts to records {input_text, output, valid, confidence, fields, latency_ms}; with `distributions` also `choices`.

    `base` is the folder of the base model; with it, plain transformers is used, which knows no confidences and no distributions.
    """
    if base is None:
        try:
            from pp_assets.packaging.predict import open_package
        except ImportError:
            pass
        else:
            return partial(open_package(FOLDER).answer, distributions=distributions)
    if distributions:
        raise RuntimeError("distributions need promptprecision (pip install promptprecision), and no --base")
    return _plain(base)


def predict(text: str) -> dict[str, Any]:
    """The record of one text; the model is loaded at the first call."""
    return load()([text])[0]


def _plain(base: str | None) -> Answer:
    training = json.loads((FOLDER / "training.json").read_text("utf-8"))
    if training["family"] != "causal":
        kind = {"encoder": "an encoder: its heads need", "ensemble": "an ensemble: its combiner needs"}[training["family"]]
        raise RuntimeError(f"this is {kind} promptprecision (pip install promptprecision)")
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    place = base or training["base_model_id"]
    _check_base(Path(place), training["base_weights_sha256"])
    prompt = json.loads((FOLDER / "deploy" / "prompt.json").read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer", trust_remote_code=False)
    try:
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
    except OSError as error:
        raise RuntimeError(f"the base model {place!r} is not found here: give its folder with --base") from error
    adapted: Any = PeftModel.from_pretrained(model, str(FOLDER / "adapter"))
    activated = adapted.peft_config["default"].alora_invocation_tokens  # such an adapter leaves the instruction to the base
    model = (adapted if activated else adapted.merge_and_unload()).eval()
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    settings = GenerationConfig(do_sample=False, max_new_tokens=prompt["max_new_tokens"], eos_token_id=prompt["stop_ids"], pad_token_id=pad)
    outputs = _validator()

    def answer_one(text: str) -> dict[str, Any]:
        began = time.perf_counter()
        rest = tokenizer(prompt["before"] + text + prompt["after"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt["prefix_ids"] + rest])
        with torch.inference_mode():
            made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)[0, ids.shape[1] :]
        said = str(tokenizer.decode(made, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        latency = round((time.perf_counter() - began) * 1000, 3)
        try:
            output = json.loads(said)
        except ValueError as error:
            output, problem = None, f"the answer is not JSON ({error})"
        else:
            problem = outputs(output)
        record = {"input_text": text, "output": output, "valid": not problem, "confidence": None, "fields": {}, "latency_ms": latency}
        return {**record, "error": problem, "answer": said} if problem else record

    return lambda texts: [answer_one(text) for text in texts]


def _check_base(folder: Path, expected: str) -> None:
    """Refuse other weights than those of the training, where the base is a folder with one weights file."""
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if len(weights) == 1:
        with weights[0].open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise RuntimeError(f"{weights[0]} has SHA-256 {found}; the adapter was trained on {expected}")


def _validator() -> Callable[[Any], str]:
    schema = json.loads((FOLDER / "task_spec.json").read_text("utf-8"))["io_schema"]["output"]
    try:
        from jsonschema.validators import validator_for
    except ImportError:
        return lambda output: "" if isinstance(output, dict) else "the answer is not an object"
    checker = validator_for(schema)(schema)
    return lambda output: next((f"the answer breaks the schema: {e.json_path}: {e.message}" for e in checker.iter_errors(output)), "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer lines of text, one JSON record a line.")
    parser.add_argument("--base", help="folder of the base model; uses plain transformers and peft, without promptprecision")
    parser.add_argument("--distributions", action="store_true", help="add the probability of every listed value of a field")
    answer = load(**vars(parser.parse_args()))
    for line in sys.stdin:
        text = line.rstrip("\r\n")
        if text.strip():
            print(json.dumps(answer([text])[0]), flush=True)
        else:
            print(json.dumps({"input_text": text, "output": None, "valid": False, "error": "the input is empty"}), flush=True)


if __name__ == "__main__":
    main()
