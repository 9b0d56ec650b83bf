"""A workflow as a Dagster job: its steps are ops, what they read are their inputs, so that a run is seen, timed and retried by Dagster.

Belongs here: the graph that is built from a plan, and its execution in this process. Does not belong here: what a step does.
"""

import keyword
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from pp_assets.workflows.planned import Planned
from pp_resources.artifacts import Artifact
from pp_resources.instance import open_instance
from pp_resources.settings import Settings

PREFIX = "workflow_"  # of the job's name
TAG_WORKFLOW, TAG_RUN = "pp/workflow", "pp/workflow_run"
RETRY_PAUSE = 1.0  # seconds before a step is tried again, doubled each time
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_TAKEN = {"context", "conf", "config", "meta", "arg_dict", "dict", "input", "output", "int", "str", "float", "bool", "type"}

Perform = Callable[[str], Artifact]


def job_of(name: str, description: str, plan: Sequence[Planned], retries: int, perform: Perform) -> dg.JobDefinition:
    """`perform` does a step by its name; `retries` where a step says nothing."""
    ops = [_op(one, retries, perform) for one in plan]
    dependencies: dict[str, Any] = {
        _op_name(one.name): {f"read_{read}": dg.DependencyDefinition(_op_name(read)) for read in one.reads} for one in plan
    }
    graph = dg.GraphDefinition(
        name=PREFIX + "".join(c if c.isalnum() else "_" for c in name),
        description=description or f"The workflow {name}",
        node_defs=ops,
        dependencies=dependencies,
    )
    return graph.to_job(executor_def=dg.in_process_executor)


def execute(settings: Settings, job: dg.JobDefinition, run_id: str, tags: dict[str, str]) -> None:
    """Run the job in this process on the installation's instance. Errors of a step come out as they were raised."""
    instance = open_instance(settings)
    try:
        job.execute_in_process(run_config=_QUIET, instance=instance, run_id=run_id, tags=tags)
    finally:
        instance.dispose()


def _op(one: Planned, retries: int, perform: Perform) -> dg.OpDefinition:
    tries = retries if one.step.options.retries is None else one.step.options.retries
    policy = dg.RetryPolicy(max_retries=tries, delay=RETRY_PAUSE, backoff=dg.Backoff.EXPONENTIAL) if tries else None

    def compute(_context: dg.OpExecutionContext, _inputs: dict[str, Any]) -> Any:
        made = perform(one.name)
        shown = {key: value for key, value in made.metadata.items() if value is not None and not isinstance(value, list)}
        shown |= {
            "models": ", ".join(made.metadata["models"]) or "none",
            "reused": made.reused,
            "path": dg.MetadataValue.path(str(made.path)),
        }
        if made.metadata["cost"] is None:
            shown["cost"] = "unpriced"
        yield dg.Output(made.digest, metadata=shown)

    return dg.OpDefinition(
        compute_fn=compute,
        name=_op_name(one.name),
        description=one.step.description or f"{one.step.type} ({one.mode})",
        ins={f"read_{read}": dg.In(str) for read in one.reads},
        outs={"result": dg.Out(str)},
        retry_policy=policy,
        tags={"pp/type": one.step.type},
    )


def _op_name(step: str) -> str:
    return f"{step}_step" if step in _TAKEN or keyword.iskeyword(step) else step
