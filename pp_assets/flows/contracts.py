"""Flows about what a good answer is: what `pp contract generate`, `score` and `calibrate` do, for rows that were sent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pp_assets.flows.requests import ByContract, Calibrate, GenerateDimensions, Score
from pp_assets.flows.work import Work
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.task.contract.spec import Contract
    from pp_assets.task.spec import Task

QUICK = 100  # outputs that are scored while somebody waits
SLOW = {"judge", "semantic", "python"}  # kinds of nodes that ask something outside


def generate_dimensions(work: Work, request: GenerateDimensions) -> Mapping[str, Any]:
    """{contract, notes, written}: the contract as plain values, and what a person had changed in the task's file."""
    from pp_assets.contracts import known_rows
    from pp_assets.task.contract.files import generate, proposed

    task, rows = work.pipeline.task(request.task), known_rows(work.pipeline, request.task)
    make = generate if request.write else proposed
    merged = make(task, rows, _provider(request.judge))[1]
    return {"contract": merged.value, "notes": merged.notes, "written": request.write}


def score(work: Work, request: Score) -> Mapping[str, Any]:
    """{rows, coverage, contract (digest), scores by node with n and interval}; the scores of each output are rows, in their order."""
    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import CHUNK, score_stream
    from pp_assets.task.contract.table import Tally
    from pp_resources.progress import steps

    contract, task = contract_of(work, request)
    counted, given = Tally(contract), _helpers(contract, task, request.judge)
    rows = (Row(one.input_text, one.output, one.label) for one in request.outputs)
    with steps("outputs", -(-len(request.outputs) // CHUNK)) as advance:
        for part in score_stream(contract, rows, **given):
            counted.add(part)
            for i in range(len(part)):
                work.report.row(part.row(i))
            advance(f"{counted.rows} outputs")
    return {"rows": counted.rows, "coverage": counted.coverage, "contract": contract.digest, "scores": counted.records()}


def calibrate(work: Work, request: Calibrate) -> Mapping[str, Any]:
    """What `calibrate` measured on held-out inputs, before and after; with the calibrated contract where it is better, else `refused`."""
    from pp_assets.task.contract.calibrate import as_record
    from pp_assets.task.contract.calibrate import calibrate as run
    from pp_assets.task.contract.files import target, write_contract
    from pp_assets.task.contract.marks import Line, marks_of

    contract, task = contract_of(work, request)
    lines = [Line(f"marks.{i}", one.model_dump(exclude_unset=True)) for i, one in enumerate(request.marks)]
    done = run(contract, marks_of(lines, contract, **_helpers(contract, task, request.judge)), seed=request.seed)
    better = not done.refused
    if better and request.write:
        assert task is not None
        write_contract(target(task), done.contract, task)
    made = done.contract.model_copy(update={"output_schema": None}) if task else done.contract
    return {**as_record(done), "contract": made.plain() if better else None, "written": better and request.write}


def contract_of(work: Work, request: ByContract) -> "tuple[Contract, Task | None]":
    """The contract that is meant, and its task. Raises UserError for one that is given and would call functions of this installation."""
    from pp_assets.contracts import known_rows
    from pp_assets.task.contract.files import load_contract
    from pp_assets.task.contract.spec import parse_contract

    if request.task is not None:
        task = work.pipeline.task(request.task)
        return load_contract(task, known_rows(work.pipeline, request.task)), task
    contract = parse_contract(dict(request.contract or {}), "contract")
    if any(rule.kind == "python" for rule in contract.rules()):
        raise UserError("calls a function of this installation", where="contract", how="leave nodes of kind python to contracts of tasks")
    return contract, None


def quick_score(work: Work, request: Score) -> bool:
    """Few outputs, and a contract of this installation that asks nothing outside: another one may hold a pattern that never ends."""
    if request.task is None or len(request.outputs) > QUICK:
        return False
    kinds = {rule.kind for rule in contract_of(work, request)[0].rules()}
    return not kinds & (SLOW if request.judge else SLOW - {"judge"})


def _helpers(contract: "Contract", task: "Task | None", judge: bool) -> dict[str, Any]:
    from pp_assets.task.contract.asked import helpers

    return helpers(contract, _provider(judge), task.spec.encoder_model_id if task else None)


def _provider(wanted: bool) -> Any:
    from pp_assets.providers import provider_from_env

    return provider_from_env() if wanted else None
