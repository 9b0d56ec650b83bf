"""The asset of the flywheel. Belongs here: its shell. Does not belong here: what is decided, or what starts a turn (`pp_sensors`)."""

import dagster as dg

from pp_assets import names
from pp_assets.flywheel.stage import Turn, turn
from pp_assets.metadata import metadata_value, pipeline_of
from pp_assets.partitions import tasks
from pp_resources.dagster_resources import Installation
from pp_resources.fingerprint import digest


@dg.asset(
    group_name=names.GROUP_FEEDBACK,
    partitions_def=tasks,
    deps=["package", "drift"],
    kinds={"sqlite"},
    owners=[names.OWNER],
    description="Where the renewal of a task stands: idle, in training, a candidate in the shadow, a new champion on watch; "
    "the search of a prompt beside that; and why.",
)
def flywheel(context: dg.AssetExecutionContext, installation: Installation) -> dg.MaterializeResult:
    made = turn(pipeline_of(installation), context.partition_key)
    for reason in made.decided:
        context.log.info(reason)
    values = {name: metadata_value(value) for name, value in shown(made).items()}
    return dg.MaterializeResult(metadata=values, data_version=dg.DataVersion(digest(made.state.model_dump(mode="json"))))


def shown(made: Turn) -> dict[str, object]:
    """Flat names that stay, since each is one plotted series: of each guard the bad ones, of how many, and the e-value."""
    state = made.state
    told: dict[str, object] = {"stage": state.stage, "round": state.round, "reason": made.reason, "decided": list(made.decided)}
    told |= {"champion": state.champion, "candidate": state.candidate.package_digest if state.candidate else None}
    told |= {"search": state.search.stage, "searches": state.search.round} if "prompts" in made.numbers else {}
    told |= {f"search_{name}": value for name, value in made.numbers.get("prompts", {}).items() if name in ("reason", "new")}
    told |= {name: made.numbers[name] for name in ("new", "head", "hours", "look", "value") if made.numbers.get(name) is not None}
    for guard in made.numbers.get("guards", ()):
        told |= {f"{guard['name']}_{what}": guard[what] for what in ("bad", "n", "e", "outcome")}
    return told


ASSETS = [flywheel]
