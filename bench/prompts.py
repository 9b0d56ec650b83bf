"""Our prompt search beside DSPy's MIPROv2: the same model, rows and instructions, at most half of its calls; and how often a prompt is
released that is no better.

    make install-bench && .venv/bin/python -m bench.prompts DATA [--seeds 5] [--worlds 200] [--only tasks|base|worlds]
                  [--case NAME …] [--record]

DATA holds banking77 and snips as train.jsonl with schema.json. The model of `tasks` is simulated (`bench.prompt_world`): its truth is
known, it answers and writes; that of `base` is the shipped language model, which answers, with the simulated one as writer. MIPROv2 runs
with its preset "light" in the peers' environment, is counted by the call, and its best program is judged on the test rows. Ours may make
half as many calls (answers and proposals together); what its gate spends on test rows stands beside. Ours is what is in use after that:
the task's own prompt where none was released. In `worlds` no prompt is better than another.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from bench.prompt_world import Row, World, tokens
from bench.serving import JsonHandler, answering
from bench.throughput import processor, record
from pp_assets.base_systems import BareModel, Base
from pp_assets.evaluation.stats import mid_p
from pp_assets.prompts.candidate import Ground
from pp_assets.prompts.guards import guards
from pp_assets.prompts.prompted import BaseTarget, ChatTarget, Target
from pp_assets.prompts.search.account import Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.parts import proposers, strategy_named
from pp_assets.prompts.search.run import Found, Held, find_prompt
from pp_assets.prompts.search.splits import search_rows
from pp_assets.prompts.search.writer import KeptWriter
from pp_assets.prompts.wording import REASONING
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, load_task, parse_spec
from pp_resources.models.causal_prompt import Prompt
from pp_resources.models.chat import AskOptions, AsksMany, Messages, Reply
from pp_resources.models.price import Price

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".venv" / "peers" / "bin" / "python"
HEADING = "## Prompts (bench/prompts.py)"
TRAIN, VAL, TEST = 80, 100, 300
WORDS = "Turn the text into one JSON object."


@dataclass(frozen=True)
class Case:
    """A task's spec with the instruction that both begin with, and its rows."""

    name: str
    spec: TaskSpec
    train: list[Example]
    val: list[Example]
    test: list[Example]

    @property
    def rows(self) -> list[Row]:
        return [Row(one.input_text, one.output) for part in (self.train, self.val, self.test) for one in part]


class Simulated(AsksMany):
    """A world as a ChatModel."""

    price = Price(1.0, 4.0)

    def __init__(self, world: World, schema: Mapping[str, Any]) -> None:
        self.world, self.name, self.identity = world, "simulated", f"world {world.seed} {world.gain} {world.skill}"
        self._fields = set(schema["properties"])

    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]:
        temperature, seed = how.get("temperature", 0.0), how.get("seed", 0)
        wanted = set((how.get("schema") or {}).get("properties", ()))
        return [self._reply(messages, wanted, temperature, seed) for messages in asked]

    def _reply(self, messages: Messages, wanted: set[str], temperature: float, seed: int) -> Reply:
        if wanted == self._fields:
            said: Any = self.world.answer(messages, seed=seed, temperature=temperature)
        elif REASONING in wanted:
            said = {REASONING: [], "answer": self.world.answer(messages, seed=seed, temperature=temperature)}
        else:
            said = {
                "explanation": "These texts are often misread.",
                "system_prompt": "",
                "instruction": self.world.instruction(messages, seed=seed),
            }
        text = json.dumps(said, ensure_ascii=False)
        return Reply(text, sum(tokens(one["content"]) for one in messages), tokens(text), False, seconds=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--only", choices=("tasks", "base", "worlds"))
    parser.add_argument("--case", nargs="*", default=[], help="of `base`, these alone: each takes 6 to 50 minutes of processor")
    parser.add_argument("--record", action="store_true", help="write the tables into RESULTS.md")
    args = parser.parse_args()
    lines: list[str] = []
    result: dict[str, str] = {}
    if args.only in (None, "tasks"):
        lines += tasks(args.data, args.seeds, result)
    if args.only in (None, "base"):
        lines += base(args.data, args.case)
    if args.only in (None, "worlds"):
        lines += worlds(args.worlds, result)
    lines += ["", "RESULT " + " ".join(f"{key}={value}" for key, value in result.items())]
    print("\n".join(lines))
    if args.record:
        how = f"`python -m bench.prompts DATA --seeds {args.seeds} --worlds {args.worlds}`, {date.today()}, {processor()}"
        record(HEADING, "\n".join(lines), how)


def tasks(data: Path, seeds: int, result: dict[str, str]) -> list[str]:
    """Both searches on the simulated model."""
    lines = [
        "| task, seed | own prompt | MIPROv2 | ours | ours − MIPROv2 | its calls | our calls | our gate | tokens, ours/its | ruling |",
        "| --- | --: | --: | --: | --- | --: | --: | --: | --: | --- |",
    ]
    gaps, gains, calls, paid = [], [], [0, 0], [0, 0]
    for seed in range(seeds):
        for case in cases(data, seed):
            world = World(case.rows, WORDS, seed)
            theirs = mipro(case, seed, {"words": WORDS, "seed": seed, "gain": True}, "")
            budget = (theirs["calls"] + theirs["written"]) // 2
            model = Simulated(world, case.spec.output_schema)
            found, own, best = search(case, ChatTarget(model), model, budget, seed)
            ours = best if found.ruling.label == "RELEASE" else own
            gap = ours - np.array(theirs["after"])
            gaps.append(gap)
            gains.append(ours - own)
            calls = [calls[0] + theirs["calls"] + theirs["written"], calls[1] + found.spent["calls"]]
            paid = [paid[0] + theirs["tokens"], paid[1] + found.spent["tokens"]]
            lines.append(
                f"| {case.name} {seed} | {own.mean():.3f} | {np.mean(theirs['after']):.3f} | {ours.mean():.3f} | {spread([gap])} | "
                f"{theirs['calls'] + theirs['written']} | {found.spent['calls']} | {found.test_spent['calls']} | "
                f"{found.spent['tokens'] / theirs['tokens']:.2f} | {found.ruling.label} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    ratio = calls[1] / calls[0]
    lines += [
        "",
        f"All {len(gaps)} searches, {sum(map(len, gaps))} test answers: ours − MIPROv2 {spread(gaps)}, ours − own prompt {spread(gains)}; ",
    ]
    lines[-1] += f"calls {ratio:.2f}, tokens {paid[1] / paid[0]:.2f} of MIPROv2's."
    result |= {"gain_vs_mipro": f"{np.concatenate(gaps).mean():.4f}", "calls_ratio": f"{ratio:.3f}"}
    return lines


def base(data: Path, wanted: Sequence[str]) -> list[str]:
    """Both searches on the shipped language model; `wanted` cases, all where none is named."""
    from pp_resources.json_schema import dump_output
    from pp_resources.models.causal_prompt import token_budget

    head = ("shipped model", "own prompt", "MIPROv2", "our finalist", "ruling", "in use", "in use − MIPROv2", "its calls", "our calls")
    lines = ["", f"| {' | '.join(head)} |", "| --- | --: | --: | --: | --- | --: | --- | --: | --: |"]
    for case in cases(data, 0, test=150):
        if wanted and case.name not in wanted:
            continue
        shipped = Base(case.spec.base_model_id)
        lengths = [len(shipped.tokenizer(dump_output(case.spec.output_schema, one.output))["input_ids"]) + 1 for one in case.train]
        target = BaseTarget(shipped, case.spec.base_model_id, token_budget(lengths))
        world = World(case.rows, WORDS, 0)
        with served(case, target, world) as url:
            theirs = mipro(case, 0, None, url)
        budget = (theirs["calls"] + theirs["written"]) // 2
        found, own, best = search(case, target, Simulated(world, case.spec.output_schema), budget, 0)
        ours = best if found.ruling.label == "RELEASE" else own
        lines.append(
            f"| {case.name} | {own.mean():.3f} | {np.mean(theirs['after']):.3f} | {best.mean():.3f} | {found.ruling.label} | "
            f"{ours.mean():.3f} | {spread([ours - np.array(theirs['after'])])} | {theirs['calls'] + theirs['written']} | "
            f"{found.spent['calls']} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def worlds(count: int, result: dict[str, str]) -> list[str]:
    """How often a prompt is released where none is better."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        ruled = list(pool.map(_without_gain, range(count)))
    released, tested = sum(label == "RELEASE" for label, _ in ruled), sum(opened for _, opened in ruled)
    low, high = mid_p(float(released), float(count))
    result["false_release"] = f"{released / count:.4f}"
    told = f"{count} worlds in which no prompt is better: {tested} came to a test, {released} were released, {released / count:.3f}"
    return ["", f"{told} [{low:.3f}, {high:.3f}] where .05 are allowed."]


def _without_gain(seed: int) -> tuple[str, bool]:
    """What was ruled in a world, and whether it came to a test."""
    case = own_case("support-triage", seed, 60, 80, 200)
    model = Simulated(World(case.rows, WORDS, seed, gain=False, skill=0.6), case.spec.output_schema)
    found, *_ = search(case, ChatTarget(model), model, 300, seed, judge=False)
    print(f"world {seed}: {found.ruling.label}", file=sys.stderr, flush=True)
    return found.ruling.label, found.ruling.tested


def search(case: Case, target: Target, writer: Any, budget: int, seed: int, *, judge: bool = True) -> tuple[Found, np.ndarray, np.ndarray]:
    """What was found, and what the task's prompt and the chosen one score on each test row."""
    with tempfile.TemporaryDirectory() as made, Arena(case.spec, target, Path(made) / "cells.db", budget=Budget(budget)) as arena:
        kept = KeptWriter(writer, arena.store, arena.account)
        rows = search_rows(case.spec.output_schema, case.train, case.val, seed)
        ground = Ground(case.spec, rows.train, model=kept, embed=embedder(), count_tokens=target.tokens)
        held = Held(len(case.test), lambda: case.test)
        how = {"strategy": strategy_named("halving", lambda _best: False), "proposers": proposers(True), "guards": guards}
        found = find_prompt(arena, ground, rows, held, seed=seed, **how)
        if not judge:
            return found, np.zeros(0), np.zeros(0)
        arena.account.budget = Budget()
        return found, arena.judge(found.start, case.test).scores, arena.judge(found.best, case.test).scores


def embedder() -> Any:
    from pp_resources.models.embedder import Embedder

    return Embedder.of("sentence-transformers/all-MiniLM-L6-v2", 1).embed


def mipro(case: Case, seed: int, world: dict[str, Any] | None, url: str) -> dict[str, Any]:
    """MIPROv2's scores of each test row, and what it spent."""
    plain = {name: [{"text": one.input_text, "output": one.output} for one in getattr(case, name)] for name in ("train", "val", "test")}
    asked = {**plain, "instructions": instructions(case.spec), "world": world, "url": url, "auto": "light", "seed": seed + 1}
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "task.json"
        file.write_text(json.dumps(asked), "utf-8")
        done = subprocess.run([PEERS, "-m", "bench.prompts_dspy", file], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"MIPROv2: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def instructions(spec: TaskSpec) -> str:
    return f"{WORDS}\nJSON Schema: {json.dumps(spec.output_schema, separators=(',', ':'))}"


def cases(data: Path, seed: int, test: int = TEST) -> list[Case]:
    """The two example tasks and samples of two public ones."""
    found = [own_case(name, seed, TRAIN, VAL, test) for name in ("support-triage", "expense-notes")]
    for name in ("banking77", "snips"):
        schema = json.loads((data / name / "schema.json").read_text("utf-8"))
        lines = [json.loads(line) for line in (data / name / "train.jsonl").read_text("utf-8").splitlines()]
        spec = parse_spec({"name": name, "instruction_template": "{{ input_text }}", "io_schema": {"output": schema}}, name)
        found.append(cut(name, spec, lines, seed, TRAIN, VAL, test))
    return found


def own_case(name: str, seed: int, *sizes: int) -> Case:
    task = load_task(name, ROOT / "tasks")
    lines = [json.loads(line) for line in (task.folder / "data.jsonl").read_text("utf-8").splitlines()]
    return cut(name, task.spec, lines, seed, *sizes)


def cut(name: str, spec: TaskSpec, lines: Sequence[Any], seed: int, train: int, val: int, test: int) -> Case:
    """Rows drawn by the seed, each text once."""
    different = {line["input_text"]: line for line in lines}
    drawn = random.Random(seed).sample(sorted(different), min(len(different), train + val + test))
    rows = [Example(f"{name}-{i}", text, different[text]["output_json"], group=f"g{i}") for i, text in enumerate(drawn)]
    # Both begin with the same few words and the schema; the examples stand where the task's own prompt has none.
    template = WORDS + "\nJSON Schema: {{ schema }}\n{{ examples }}\n\nInput: {{ input_text }}"
    bare = spec.model_copy(update={"system_prompt": "", "instruction_template": template, "rubric": type(spec.rubric)()})
    return Case(name, bare, rows[:train], rows[train : train + val], rows[train + val :])


def spread(gaps: Sequence[np.ndarray]) -> str:
    """Mean and 95 % interval over all differences; those of one search are resampled together with it where there are several."""
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(2000):
        picked = [gaps[i] for i in rng.integers(len(gaps), size=len(gaps))]
        draws.append(np.concatenate([gap[rng.integers(len(gap), size=len(gap))] for gap in picked]).mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{np.concatenate(list(gaps)).mean():+.3f} [{low:+.3f}, {high:+.3f}]"


@contextmanager
def served(case: Case, target: BaseTarget, world: World) -> Iterator[str]:
    """The shipped model on a loopback address, for MIPROv2: its answers are bound to the schema, what it is to write the world writes."""
    bare = BareModel("base", target.base, case.spec.output_schema, Prompt("", "", ""), True, target.budget)
    lock = threading.Lock()

    def said(messages: list[dict[str, str]]) -> str:
        if "`output_json`" not in messages[0]["content"]:
            return world.filled(messages, seed=len(messages[-1]["content"]), temperature=1.0)
        whole = "\n\n".join(one["content"] for one in messages)
        return f"[[ ## output_json ## ]]\n{bare.predict([whole])[0].text}\n\n[[ ## completed ## ]]"

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            with lock:
                text = said(self.asked()["messages"])
            self.send(200, {"text": text})

    with answering(Handler) as url:
        yield url


if __name__ == "__main__":
    main()
