"""How much memory and time the topics of 200,000 texts take: `pp clusters map` on one thread, from a file of lines to the page.

    .venv/bin/python bench/read_topics.py TEXTS.jsonl.gz [MORE.jsonl.gz …] [--rows 200000]

Each line of a file is an object with `text`; its lines (the turns of a dialogue) and, where they are long, its sentences are the texts,
each once. Fails when the peak of resident memory reaches 4 GB.
"""

import argparse
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB, LONGEST = 4000, 400  # MB, characters


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", type=Path, nargs="+")
    options.add_argument("--rows", type=int, default=200_000)
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pp-topics-") as name:
        folder, rows = Path(name), 0
        with (folder / "texts.jsonl").open("w", encoding="utf-8") as out:
            for rows, text in enumerate(texts(args.files), 1):
                out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                if rows == args.rows:
                    break
        print(f"{rows} texts", flush=True)
        command = [Path(sys.executable).with_name("pp"), "clusters", "map", folder / "texts.jsonl", "-o", folder / "page.html"]
        threads = {"PP_THREADS": "1", "OMP_NUM_THREADS": "1", "PP_HOME": str(folder / "home")}
        began = time.perf_counter()
        child = subprocess.run([*command, "--json"], cwd=ROOT, env=os.environ | threads, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - began
        page_mb = (folder / "page.html").stat().st_size / 2**20
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_mb, cpu_s, found = used.ru_maxrss / 1024, used.ru_utime + used.ru_stime, json.loads(child.stdout)
    told = f"topics={len(found['topics'])} outliers={found['outliers'] / rows:.4f} page_mb={page_mb:.1f}"
    print(f"RESULT rows={rows} peak_mb={peak_mb:.0f} cpu_s={cpu_s:.0f} wall_s={seconds:.0f} {told}")
    return int(peak_mb >= LIMIT_MB)


def texts(files: list[Path]) -> Iterator[str]:
    seen: set[str] = set()
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                for turn in json.loads(line)["text"].splitlines():
                    for part in [turn] if len(turn) <= LONGEST else re.split(r"(?<=[.!?]) ", turn):
                        if 0 < len(part) <= LONGEST and part not in seen:
                            seen.add(part)
                            yield part


if __name__ == "__main__":
    sys.exit(main())
