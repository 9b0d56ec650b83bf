"""How much memory and time a data set of a million lines takes.

    .venv/bin/python bench/read_million.py [--rows 1000000]

Writes varied lines (Zipf-distributed words, 20 to 300 characters, a third with a source_id) with a known number of exact duplicates,
near-duplicates and of each kind of bad line, builds the data set (validate, de-duplicate, split) in a process of its own, then compares
its training rows with its held-out rows, and fails when the quarantine is not exactly that, when a near-duplicate lies on another side than
its original, when the peak of resident memory reaches 1 GB in the first part or 4 GB in the second.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
BUILD_LIMIT_MB, LIMIT_MB = 1000, 4000
TEAMS = ["billing", "delivery", "returns", "account", "other"]
SPEC = {
    "version": 1,
    "name": "million",
    "instruction_template": "{{ input_text }}",
    "io_schema": {
        "output": {
            "type": "object",
            "additionalProperties": False,
            "required": ["team", "urgent", "order_id", "products"],
            "properties": {
                "team": {"type": "string", "enum": TEAMS},
                "urgent": {"type": "boolean"},
                "order_id": {"type": ["string", "null"], "x-verbatim": True},
                "products": {"type": "array", "items": {"type": "string", "x-verbatim": True}},
            },
        }
    },
    "limits": {"max_input_chars": 2000},
}
CHILD = """
import json, resource, sys, time
from pathlib import Path
import pyarrow.parquet as pq
from pp_assets.data.leakage import find_leaks, held_out
from pp_assets.task.dataset import build_dataset
from pp_assets.task.spec import load_task
folder = Path(sys.argv[1])
began, facts = time.perf_counter(), {}
def phase(name):
    global began
    facts[f"{name}_s"] = round(time.perf_counter() - began, 1)
    facts[f"{name}_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    began = time.perf_counter()
found = build_dataset(load_task(folder / "million", folder), folder / "out")
phase("build")
train = pq.read_table(folder / "out" / "clean.parquet", columns=["input_text"], filters=[("split", "=", "train")])
found["leaking"] = len(find_leaks(train.column(0).to_pylist(), held_out(folder / "out").texts))
phase("leaks")
print(json.dumps(found | facts))
"""


class Lines:
    """Lines with a known share of every fault: one line in 100 is bad, one in 200 an exact and one in 50 a near duplicate."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        weights = [1 / (i + 2) for i in range(26)]
        self.words = ["".join(self.random.choices(letters, weights, k=self.random.randint(2, 10))) for _ in range(30_000)]
        self.ranks = [1 / (i + 5) for i in range(len(self.words))]
        self.cumulative = [sum(self.ranks[:1])]
        for rank in self.ranks[1:]:
            self.cumulative.append(self.cumulative[-1] + rank)
        self.recent: deque[dict] = deque(maxlen=20_000)
        self.expected: Counter[str] = Counter()

    def row(self, number: int) -> dict:
        pick = self.random
        words = pick.choices(self.words, cum_weights=self.cumulative, k=pick.randint(5, 45))
        order = f"{pick.choice('ABCD')}-{pick.randrange(10**6)}" if pick.random() < 0.4 else None
        if order:
            words.insert(pick.randrange(len(words)), order)
        output = {"team": pick.choice(TEAMS), "urgent": pick.random() < 0.2, "order_id": order, "products": words[1:2]}
        row = {"input_text": " ".join(words) + f" {number:x}", "output_json": output, "meta": {"number": number}}
        return row | ({"source_id": f"case-{number // 3}"} if number % 9 < 3 else {})

    def line(self, number: int) -> bytes:
        row = self.row(number)
        if number > 1000 and number % 200 == 7:
            self.expected["duplicate"] += 1
            row = self.random.choice(self.recent)
        elif number > 1000 and number % 50 == 11:
            near = self.random.choice(self.recent)
            row = near | {"input_text": f"{near['input_text']}{number:x}", "meta": {"near": near["meta"]["number"]}}
        elif number % 100 == 3:
            return self.bad(row, number)
        elif len(row["input_text"]) > 60:  # long enough that a few more letters keep 5-gram similarity above the threshold
            self.recent.append(row)
        return json.dumps(row).encode()

    def bad(self, row: dict, number: int) -> bytes:
        text = json.dumps(row)
        kinds = {
            "invalid_json": text[:-1].encode(),
            "encoding": text.encode().replace(b"input_text", b"input_text\xff", 1),
            "duplicate_key": (text[:-1] + ', "meta": {}}').encode(),
            "missing_field": json.dumps({"input_text": row["input_text"]}).encode(),
            "unknown_field": json.dumps(row | {"outptu": 1}).encode(),
            "wrong_type": json.dumps(row | {"meta": []}).encode(),
            "schema": json.dumps(row | {"output_json": row["output_json"] | {"team": "sales"}}).encode(),
            "not_verbatim": json.dumps(row | {"output_json": row["output_json"] | {"order_id": "Z-nowhere"}}).encode(),
            "too_long": json.dumps(row | {"input_text": row["input_text"] * 400}).encode(),
            "empty_input": json.dumps(row | {"input_text": " "}).encode(),
        }
        code = list(kinds)[number // 100 % len(kinds)]
        self.expected[code] += 1
        return kinds[code]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    rows = options.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="pp-million-") as name:
        folder = Path(name)
        (folder / "million").mkdir()
        (folder / "million" / "task.json").write_text(json.dumps(SPEC))
        lines = Lines(seed=0)
        with (folder / "million" / "data.jsonl").open("wb") as out:
            for number in range(rows):
                out.write(lines.line(number) + b"\n")
        print(f"wrote {rows} lines, {(folder / 'million' / 'data.jsonl').stat().st_size / 1e6:.0f} MB", flush=True)
        start = time.perf_counter()
        child = subprocess.run([sys.executable, "-c", CHILD, name], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - start
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        found = json.loads(child.stdout)
        faults = problems(found, lines.expected, rows, peak_mb, folder / "out")
    print(json.dumps({key: value for key, value in found.items() if key != "splits_sha256"}, indent=1))
    for fault in faults:
        print("FAILED", fault)
    told = f"peak_mb={peak_mb:.0f} build_peak_mb={found['build_peak_mb']} leaking={found['leaking']}"
    speeds = f"rows_per_s={rows / seconds:.0f} build_rows_per_s={rows / found['build_s']:.0f} leak_rows_per_s={rows / found['leaks_s']:.0f}"
    print(f"RESULT rows={rows} {told} {speeds} quarantined={found['quarantined']}")
    return 1 if faults else 0


def problems(found: dict, expected: Counter[str], rows: int, peak_mb: float, out: Path) -> list[str]:
    faults = []
    if found["quarantine"] != dict(expected):
        faults.append(f"quarantine {found['quarantine']}, expected {dict(expected)}")
    if found["kept"] + found["quarantined"] != rows:
        faults.append(f"{rows - found['kept'] - found['quarantined']} lines are lost")
    if peak_mb >= LIMIT_MB or found["build_peak_mb"] >= BUILD_LIMIT_MB:
        faults.append(f"peak {peak_mb:.0f} MB")
    split_of: dict[int, str] = {}
    apart = checked = 0
    for batch in pq.ParquetFile(out / "clean.parquet").iter_batches(columns=["meta", "split"]):
        for meta, split in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist()):
            meta = json.loads(meta)
            if "near" in meta:
                checked += 1
                apart += split_of[meta["near"]] != split
            else:
                split_of[meta["number"]] = split
    print(f"{checked} planted near-duplicates, {apart} of them apart from their original")
    return [*faults, f"{apart} near-duplicates lie on another side"] if apart else faults


if __name__ == "__main__":
    sys.exit(main())
