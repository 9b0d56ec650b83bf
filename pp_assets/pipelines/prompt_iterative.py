"""`prompt-engineering-iterative`: the prompt search of `pp prompt optimise`, told in the steps of the catalogue."""

from typing import TYPE_CHECKING

from pp_assets.pipeline import read_json
from pp_assets.pipelines.facts import effect_figure, listed
from pp_assets.pipelines.prompt_work import KIND_OF
from pp_assets.pipelines.prompting import Iterative
from pp_assets.pipelines.report import Figure, Report, Table
from pp_assets.prompts.optimising import Wanted
from pp_assets.prompts.search.tree import tree_lines

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


def run(p: "Pipeline", name: str, options: Iterative) -> Report:
    """Variations in rounds, on rows to choose by; the best is tested on test rows beside the task's own prompt."""
    report = Report()
    wanted = Wanted(options.target, options.writer, options.strategy, options.calls, seed=options.seed, until=options.until)
    with report.step("search") as step:
        made = p.prompt(name, wanted)
        told, nodes = made.metadata, read_json(made.file("tree.json"))
        step.made.append(made)
        step.calls, step.tokens = (0, 0) if made.reused else (told["calls"] + told["test_calls"], told["tokens"] + told["test_tokens"])
        step.said = f"{len(nodes)} prompts, {told['finalists']} of them judged on all {told['val_rows']} rows to choose by"
    with report.step("baseline") as step:
        step.said = f"the task's own prompt: {told['val_start']:.4f} {told['metric']}"
        step.figures = [Figure(f"{told['metric']}, the task's own", told["val_start"], n=told["val_rows"])]
    with report.step("variations") as step:
        sources = sorted({node["source"].partition(":")[0] for node in nodes} - {"seed"})
        step.said = f"proposed by {listed(sources)}"
        step.tables = [Table("Who came from whom", ("prompt",), tuple((line,) for line in tree_lines(nodes)))]
    with report.step("analysis") as step:
        step.said = f"best where it was chosen: {told['best']} ({told['source']}), {told['val_best']:.4f}"
        step.figures = [Figure(f"{told['metric']}, the best", told["val_best"], n=told["val_rows"])]
    with report.step("validation") as step:
        tested = {key.removeprefix("test_"): value for key, value in told.items() if key.startswith("test_")}
        step.said = f"{told['verdict']}: {told['reasons'][0]}"
        step.figures = [
            effect_figure("gain over the task's own prompt", {**tested, "reason": "" if told["tested"] else told["reasons"][0]})
        ]
    return report.end(KIND_OF[told["verdict"]], told["verdict"], told["reasons"])
