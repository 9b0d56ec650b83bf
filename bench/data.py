"""The data engine measured: topics, leaks, label errors, drift, contracts, each by its part in bench/data_parts.

    .venv/bin/python bench/data.py DATA [--only clusters --only drift]

DATA holds banking77, snips, sms_spam, product_aspects and restaurant8k, a folder each. Each part prints its table. Topics are measured
beside BERTopic's default, which `make install-bench` installs.
"""

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("clusters", "leaks", "labels", "drift", "contracts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    found: dict[str, float] = {}
    for part in args.only or PARTS:
        print(f"\n== {part}", flush=True)
        found |= importlib.import_module(f"bench.data_parts.{part}").measure(args.data)
    print("\nRESULT " + " ".join(f"{key}={value:.6g}" for key, value in found.items()))


if __name__ == "__main__":
    main()
