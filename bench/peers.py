"""What is computed again after an edit: our experiments beside inspect_ai and lm-eval, each on the same items, in a process of its own.

    make install-bench && .venv/bin/python -m bench.peers [--record]

A subject (a "model" with a helper, a scorer, forty items) is run five times: first, again, with another scorer, with another helper of the
model, with one item changed. Each tool keeps its cache between runs, as its documentation says: inspect_ai `eval_set` on one log folder,
lm-eval `use_cache`, ours a store of cells. Told are the model calls that each run made and whether the value that it reports is the true
one, that of a plain loop without any cache.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS = HERE.parent / ".venv" / "peers" / "bin" / "python"
HEADING = "## What an edit costs"
ITEMS = 40
SUBJECT = """
from pathlib import Path

CALLS = Path(__file__).parent / "calls"


def count():
    with CALLS.open("a") as lines:
        lines.write("x")


def helper(text):
    return text.strip(){helper}


def answer(text):
    count()
    return helper(text)


def right(said, wanted):
    return {scorer}
"""
PLAIN = {"helper": ".lower()", "scorer": "said == wanted"}
STEPS: list[tuple[str, dict[str, str], int]] = [
    ("first run", {}, 0),
    ("again", {}, 0),
    ("scorer edited", {"scorer": "said != wanted"}, 0),
    ("helper of the model edited", {"scorer": "said != wanted", "helper": ".upper()"}, 0),
    ("one item edited", {"scorer": "said != wanted", "helper": ".upper()"}, 1),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        print(json.dumps(ours(args.ours)))
        return
    if not PEERS.exists():
        sys.exit("the peers are not installed: make install-bench")
    tools = {"ours": [sys.executable, str(HERE / "peers.py"), "--ours"]}
    tools |= {"inspect_ai": [str(PEERS), str(HERE / "peers_inspect.py")], "lm-eval": [str(PEERS), str(HERE / "peers_lm_eval.py")]}
    found = {tool: measure(command) for tool, command in tools.items()}
    text = as_table(found)
    print(text)
    if args.record:
        from bench.throughput import processor, record

        record(HEADING, text, f"`python -m bench.peers`, {date.today()}, {processor()}")
    print(text.splitlines()[-1])


def measure(command: list[str]) -> list[dict[str, Any]]:
    """Of each step what the tool called and said, and what is true."""
    found = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name, edits, changed in STEPS:
            (folder / "subject.py").write_text(SUBJECT.format(**{**PLAIN, **edits}))
            (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items(changed)))
            (folder / "calls").write_text("")
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            done = subprocess.run([*command, str(folder)], capture_output=True, text=True, cwd=folder)
            if done.returncode:
                sys.exit(f"{' '.join(command)}: exit {done.returncode} at {name!r}\n{done.stderr}")
            said = json.loads(done.stdout.splitlines()[-1])
            calls = len((folder / "calls").read_text())
            found.append({"step": name, "calls": calls, "value": said["value"], "true": truth(folder), "version": said["version"]})
    return found


def items(changed: int) -> list[dict[str, str]]:
    """Three of four are answered well by the plain subject; `changed` of them have another text and another answer."""
    texts = [f"Item {i:02d} " + ("later" if i < changed else "text") for i in range(ITEMS)]
    return [{"id": f"i{i}", "text": text, "wanted": text.lower() if i % 4 or i < changed else text.upper()} for i, text in enumerate(texts)]


def truth(folder: Path) -> float:
    """The mean score by a plain loop."""
    space: dict[str, Any] = {"__file__": str(folder / "subject.py")}
    exec((folder / "subject.py").read_text(), space)
    space["count"] = lambda: None
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    return sum(space["right"](space["answer"](row["text"]), row["wanted"]) for row in rows) / len(rows)


def ours(folder: Path) -> dict[str, Any]:
    """One run of an experiment on the subject."""
    from importlib.metadata import version

    sys.path.insert(0, str(folder))
    import subject

    from pp_assets.experiment import Experiment, op

    def right(answer: str, wanted: str) -> bool:
        return bool(subject.right(answer, wanted))

    exp = Experiment(folder / "items.jsonl", store=folder / "cells.db").step("answer", op(subject.answer, sampled=False)).score(right)
    return {"value": float(exp.run().df["right"].mean()), "version": version("promptprecision")}


def as_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """A row for each step, two columns a tool; RESULT says how many model calls were made that need not be, and false values."""
    names = {tool: f"{tool} {rows[0]['version']}" for tool, rows in found.items()}
    head = " | ".join(f"{name}: calls | value" for name in names.values())
    lines = [f"| step | {head} | true value |", "| --- |" + " ---: | ---: |" * len(found) + " ---: |"]
    for i, (step, _, _) in enumerate(STEPS):
        cells = []
        for rows in found.values():
            wrong = "" if abs(rows[i]["value"] - rows[i]["true"]) < 1e-9 else " (false)"
            cells.append(f"{rows[i]['calls']} | {rows[i]['value']:.4f}{wrong}")
        lines.append(f"| {step} | {' | '.join(cells)} | {next(iter(found.values()))[i]['true']:.4f} |")
    needed = [ITEMS, 0, 0, ITEMS, 1]
    keys = []
    for tool, rows in found.items():
        key = tool.replace("-", "_")
        keys.append(f"{key}_needless_calls={sum(max(0, row['calls'] - n) for row, n in zip(rows, needed))}")
        keys.append(f"{key}_false_values={sum(abs(row['value'] - row['true']) >= 1e-9 for row in rows)}")
    first = max(abs(rows[0]["value"] - rows[0]["true"]) for rows in found.values())
    return "\n".join([*lines, "", f"RESULT {' '.join(keys)} first_value_gap={first:.1e}"])


if __name__ == "__main__":
    main()
