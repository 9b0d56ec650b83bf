"""`pp status`: what is there for each task, read from the store; nothing is computed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.tasks import settle
from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


def status(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="One task; default: all.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show where each task stands: data, variants with their verdicts, the champion, feedback.

    Examples:

        pp status

        pp status support-triage --json
    """
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import list_tasks

    out = Output(as_json)
    settings = Settings.from_env()
    if task is None:
        names = list_tasks(settings.tasks)
    else:
        settings, name = settle(task)
        names = [name]
    found = [_state(Pipeline(settings), name) for name in names]
    if out.result({"home": str(settings.home), "tasks": found}):
        return
    line(f"state: {settings.home}")
    rows = [row for state in found for row in _rows(state)]
    table(("task", "data", "variant", "value", "verdict", "made", "champion"), rows)
    for state in found:
        if state["error"]:
            line(f"{state['task']}: {state['error']}")
        if state["feedback"]:
            line(f"{state['task']}: {state['feedback']} feedback entries")


def _state(pipeline: "Pipeline", name: str) -> dict[str, Any]:
    from pp_assets.champion import read_champion
    from pp_assets.pipeline import DATASETS, EVALUATIONS, PACKAGES
    from pp_assets.task.dataset import dataset_inputs
    from pp_assets.task.examples import count_test_openings

    state: dict[str, Any] = {"task": name, "error": None, "data": "not read", "rows": None, "champion": None, "variants": []}
    state |= {"feedback": len(pipeline.inbox.entries(name)), "test_openings": count_test_openings(pipeline.ledger, name)}
    try:
        task = pipeline.task(name)
    except UserError as error:
        return state | {"error": str(error)}
    store, dataset = pipeline.store, pipeline.store.current(DATASETS, name)
    if dataset:
        same = all(dataset.inputs.get(key) == value for key, value in dataset_inputs(task).items())
        state |= {"data": "current" if same else "changed since it was read", "rows": dataset.metadata["kept"]}
    if champion := read_champion(pipeline.settings.home, name):
        state["champion"] = champion.variant
    trained = [key.partition("/")[2] for key in store.keys(EVALUATIONS) if key.startswith(f"{name}/")]
    for variant in [*task.spec.variants, *(extra for extra in trained if extra not in task.spec.variants)]:
        report, packed = store.current(EVALUATIONS, f"{name}/{variant}"), store.current(PACKAGES, f"{name}/{variant}")
        entry: dict[str, Any] = {"variant": variant, "verdict": None, "metric": None, "value": None, "made": None, "package": None}
        if report:
            entry |= {key: report.metadata[key] for key in ("verdict", "metric", "value")} | {"made": report.created_at}
        state["variants"].append(entry | ({"package": str(packed.path)} if packed else {}))
    return state


def _rows(state: dict[str, Any]) -> list[tuple[str, ...]]:
    data = state["data"] if state["rows"] is None else f"{state['rows']} rows, {state['data']}"
    rows: list[tuple[str, ...]] = []
    for entry in state["variants"]:
        value = "–" if entry["value"] is None else f"{entry['metric']} {number(entry['value'])}"
        star = "champion" if entry["variant"] == state["champion"] else ""
        made = (entry["made"] or "")[:16]
        rows.append((state["task"], data, entry["variant"], value, entry["verdict"] or "not trained", made, star))
    return rows or [(state["task"], data, "–", "–", "–", "", "")]
