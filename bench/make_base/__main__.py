"""Train the tokenizer and the base model in two stages, measure both, write the model folder.

``python -m bench.make_base --corpus FOLDER --out FOLDER``; the card says which files the corpus has. Killed, it goes on from its last
checkpoint in ``--work``. ``--start`` takes the first stage as done: a folder with its weights and tokenizer.
"""

import argparse
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from bench.make_base.card import write_card
from bench.make_base.corpus import Row, example
from bench.make_base.dialogues import FILE, load_dialogues
from bench.make_base.measure import base_scores, row_sets
from bench.make_base.mix import mixture
from bench.make_base.texts import FILES, load_texts
from bench.make_base.tokenizer import train_tokenizer
from bench.make_base.train import FIRST, SECOND, Draw, Plan, new_model, train
from pp_resources.errors import UserError
from pp_resources.fingerprint import file_sha256
from pp_resources.models.bases import weights_sha256
from pp_resources.models.causal import load_model, load_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.make_base", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with " + ", ".join((*FILES, FILE)))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".pp/make_base"))
    parser.add_argument("--start", type=Path, help="folder of a base to go on from instead of the first stage")
    parser.add_argument("--tokens", type=int, default=SECOND.tokens, help="budget of training tokens of the second stage")
    parser.add_argument("--minutes", type=float, help="bound on the wall time of the second stage; the result is then not reproducible")
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        make(args.corpus, args.out, args.work, args.start, replace(SECOND, tokens=args.tokens, minutes=args.minutes))
    except UserError as error:
        parser.error(str(error))


def make(corpus: Path, out: Path, work: Path, start: Path | None, second: Plan) -> None:
    """Fill `out`. Raises UserError when a file of the corpus is missing."""
    texts, dialogues = load_texts(corpus), load_dialogues(corpus)
    if start is None:
        start = work / "first" / "model"
        stage(FIRST, None, train_tokenizer(FIRST.seed, FIRST.vocab), work / "first", example, {})
    sets = row_sets(texts, n=32)
    stage(second, start, load_tokenizer(start), work / "second", mixture(texts, dialogues), sets)
    model = load_model(work / "second" / "model").half()  # the shipped weights: what is measured is what they say, computed in fp32
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(start / name, out / name)
    scores = {name: base_scores(folder, texts, dialogues) for name, folder in (("first", start), ("second", out))}
    run: dict[str, Any] = {
        "first": _read(work / "first" / "run.json"),
        "second": _read(work / "second" / "run.json"),
        "start_sha256": weights_sha256(start),
        "corpus": {name: file_sha256(corpus / name) for name in sorted((*FILES, FILE))},
        "texts": {"nouns": len(texts.nouns), "sentences": len(texts.sentences), "rows": len(dialogues.train)},
        "scores": scores,
    }
    log = [json.loads(line) for line in (work / "second" / "log.jsonl").read_text("utf-8").splitlines()]
    write_card(out, run, log)
    print(json.dumps(scores, indent=1))


def stage(
    plan: Plan, start: Path | None, tokenizer: PreTrainedTokenizerFast, work: Path, draw: Draw, watched: Mapping[str, Sequence[Row]]
) -> None:
    """Train from `start` (None: anew) and leave the model in ``work/model``; nothing is done when this very plan is done."""
    if (done := _read(work / "run.json")) and done["plan"] == asdict(plan):
        return
    work.mkdir(parents=True, exist_ok=True)
    model = load_model(start) if start else new_model(plan, tokenizer)
    run = train(plan, model, tokenizer, work, draw, watched)
    model.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    (work / "run.json").write_text(json.dumps(run, indent=1))


def _read(path: Path) -> dict[str, Any]:
    """An empty one when there is none."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


if __name__ == "__main__":
    main()
