"""The support chat on a terminal, with simulated customers, and its figures.

python -m examples.support_chat                              talk to it; `pp serve` must be running
python -m examples.support_chat --hold-back FOLDER           a copy of the task whose customers are unknown to it
python -m examples.support_chat --simulate 200 --seed 1      let simulated customers talk to it
python -m examples.support_chat --metrics                    what the store knows of all conversations
python -m examples.support_chat --graph                      draw the graph (Mermaid)
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai

from examples.support_chat.checks import Checks
from examples.support_chat.gateway import Gateway, refusal
from examples.support_chat.held_back import held_rows, hold_back
from examples.support_chat.measures import measure
from examples.support_chat.show import told_figures, told_summary
from pp_assets.task.contract.files import load_contract
from pp_assets.task.spec import list_tasks, load_task
from pp_resources.errors import UserError
from pp_resources.progress import watched_by
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input, told in one line."""
    options = parser().parse_args(words)
    try:
        for name, run in COMMANDS.items():
            if getattr(options, name) is not None:
                return run(options)
        return _talk(options)
    except UserError as error:
        told = str(error)
    except openai.APIError as error:
        told = f"{options.url}: {refusal(error)}"
    if options.json:
        print(json.dumps({"error": told}))
    print(f"support_chat: {' '.join(told.split())}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    """What may be said on the command line."""
    made = argparse.ArgumentParser("support_chat", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--url", default="http://127.0.0.1:8100", help="of the gateway; its key, where it asks for one, is OPENAI_API_KEY")
    made.add_argument("--task", default="support-triage", help="the function that understands messages")
    made.add_argument("--answering", metavar="MODEL", help="a model of the gateway that writes the replies; default: templates")
    made.add_argument("--least-confidence", type=float, default=Checks.least_confidence, help="below it a person takes over")
    made.add_argument("--simulate", type=int, metavar="N", help="conversations with simulated customers")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--hold-back", type=Path, metavar="FOLDER", help="copy the task into this folder without the customers' rows")
    made.add_argument("--share", type=float, default=0.5, help="of the rows, with --hold-back")
    made.add_argument("--metrics", action="store_const", const=True)
    made.add_argument("--graph", action="store_const", const=True)
    made.add_argument("--json", action="store_true")
    return made


def _chat(options: argparse.Namespace) -> Any:
    try:
        from examples.support_chat.chat import SupportChat
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("langgraph"):
            raise
        raise UserError("LangGraph is not installed", how="pip install 'promptprecision[examples]'") from error
    # The one thing that differs from a program that talks to OpenAI is the base URL.
    client = openai.OpenAI(base_url=f"{options.url.rstrip('/')}/v1", api_key=os.environ.get("OPENAI_API_KEY") or "none")
    tasks = Settings.from_env().tasks
    contract = load_contract(load_task(options.task, tasks)) if options.task in list_tasks(tasks) else None
    return SupportChat(Gateway(client, options.task, options.answering), Checks(options.least_confidence, contract=contract))


def _graph(options: argparse.Namespace) -> int:
    drawn = _chat(options).graph.get_graph().draw_mermaid()
    _print(options, {"mermaid": drawn}, lambda: drawn)
    return 0


def _hold_back(options: argparse.Namespace) -> int:
    task = load_task(options.task, Settings.from_env().tasks)
    made = hold_back(task, options.hold_back, share=options.share, seed=options.seed)
    held, file = len(held_rows(made)), made.data_files()[0][0]
    known = len(file.read_bytes().splitlines())
    text = f"{made.folder}: {known} rows for the task, {held} for customers; next: PP_TASKS={options.hold_back} pp run {made.name}"
    _print(options, {"folder": str(made.folder), "rows": known, "held_back": held}, lambda: text)
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from examples.support_chat.population import population
    from examples.support_chat.simulate import simulate, summary

    if options.simulate < 1:
        raise UserError(f"{options.simulate} conversations", where="--simulate", how="give a number from 1 on")
    task = load_task(options.task, Settings.from_env().tasks)
    chat = _chat(options)
    visits = list(population(task, options.seed, options.simulate))
    with watched_by(_progress):
        found = summary(simulate(chat, visits), unsent=len(chat.unsent), refused=len(chat.refused))
    _print(options, found, lambda: told_summary(found))
    return 0


def _metrics(options: argparse.Namespace) -> int:
    settings = Settings.from_env()
    store = open_store(settings.home, settings.store_url)
    if not store.exists:
        raise UserError("there is no store yet", where=str(settings.home), how="pp serve makes it with the first answer")
    found = measure(store, options.task)
    _print(options, found, lambda: told_figures(found))
    return 0


def _talk(options: argparse.Namespace) -> int:
    from examples.support_chat.terminal import talk

    return talk(_chat(options), sys.stdin, sys.stdout, as_json=options.json)


def _print(options: argparse.Namespace, value: Any, text: Callable[[], str]) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1) if options.json else text())


def _progress(title: str, done: int, total: int, _detail: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{title} {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


COMMANDS = {"graph": _graph, "hold_back": _hold_back, "simulate": _simulate, "metrics": _metrics}

if __name__ == "__main__":
    raise SystemExit(main())
