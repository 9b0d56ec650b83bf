"""One run of inspect_ai on the subject of bench/peers.py, with its reuse of finished logs."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from inspect_ai import Task, eval_set, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Target, accuracy, scorer
from inspect_ai.solver import Generate, TaskState, solver

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))
import subject  # noqa: E402


@solver
def subject_solver():
    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001
        state.output.completion = subject.answer(state.input_text)
        return state

    return solve


@scorer(metrics=[accuracy()])
def subject_scorer():
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value="C" if subject.right(state.output.completion, target.text) else "I")

    return score


@task
def subject_task() -> Task:
    rows = [json.loads(line) for line in (FOLDER / "items.jsonl").read_text().splitlines()]
    return Task([Sample(id=r["id"], input=r["text"], target=r["wanted"]) for r in rows], solver=subject_solver(), scorer=subject_scorer())


_, logs = eval_set(subject_task(), model="mockllm/model", log_dir=str(FOLDER / "logs"), display="none", log_dir_allow_dirty=True)
value = logs[0].results.scores[0].metrics["accuracy"].value
print(json.dumps({"value": value, "version": version("inspect_ai")}))
