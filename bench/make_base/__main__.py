"""``python -m bench.make_base --out FOLDER``: train the tokenizer and the base model, measure it, write the model folder.

Killed, it goes on from its last checkpoint in ``--work``.
"""

import argparse
import json
import os
from pathlib import Path

import torch

from bench.make_base.card import write_card
from bench.make_base.tokenizer import train_tokenizer
from bench.make_base.train import Plan, held_out_scores, train


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.make_base", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".pp/make_base"))
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="bound on the wall time; the result is then not reproducible")
    parser.add_argument("--tokens", type=int, default=Plan.tokens, help="budget of training tokens")
    parser.add_argument("--threads", type=int, default=Plan.threads)
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    plan = Plan(tokens=args.tokens, minutes=args.minutes, threads=args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(plan.seed, plan.vocab)
    tokenizer.save_pretrained(args.work / "tokenizer")
    model = train(plan, tokenizer, args.work)
    model.half()  # the shipped weights: what is measured below is what they say, computed in fp32
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    model.float()
    scores = {
        "seen_kinds": held_out_scores(model, tokenizer, n=256),
        "unseen_kinds": held_out_scores(model, tokenizer, n=256, unseen_kinds=True),
    }
    run = json.loads((args.work / "run.json").read_text("utf-8")) | {"held_out": scores, "torch": torch.__version__}
    write_card(args.out, run, [json.loads(line) for line in (args.work / "log.jsonl").read_text("utf-8").splitlines()])
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
