"""`prompt-engineering-fewshot`: examples of the prompt by search over choice, count and order."""

from typing import TYPE_CHECKING

from pp_assets.pipelines.prompt_work import Work, ended, judged_step, quality_figure, tried_table, without, working
from pp_assets.pipelines.prompting import FEWSHOT, FewShot
from pp_assets.pipelines.report import Figure, Report, Step, Table
from pp_assets.prompts.fewshot import CHOOSERS, Ordered, Sets, SetsThenOrders, fitted
from pp_assets.prompts.guards import guards
from pp_assets.prompts.search.run import Found, find_prompt
from pp_assets.prompts.wording import Wording
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.prompts.candidate import Judged
    from pp_assets.task.spec import TaskSpec

FOR_ORDERS = 0.3  # share of the calls that the orders of the best set may take


def run(p: "Pipeline", name: str, options: FewShot) -> Report:
    """Chosen on rows to choose by, tested once on test rows beside the task's own prompt."""
    for one in options.choosers:
        if one not in CHOOSERS:
            raise UserError(f"no way to choose examples {one!r}", where="choosers", how=nearest(one, CHOOSERS))
    if not options.shots or min(options.shots) < 1:
        raise UserError("a number of examples has to be 1 or more", where="shots", how="such as shots=4")
    report = Report()
    with working(p, name, FEWSHOT, options, 1 - FOR_ORDERS) as work:
        _refuse_too_many(work, min(options.shots))
        sets = Sets(options.shots, options.choosers or tuple(CHOOSERS))
        strategy = SetsThenOrders(work.extra("order-calls", int(options.calls * FOR_ORDERS)), options.orders)
        with report.step("choice and count") as step, work.bought(step):
            found = find_prompt(
                work.arena,
                work.ground,
                work.rows,
                work.held,
                strategy=strategy,
                proposers=[sets],
                guards=guards,
                seed=work.seed,
                ledger=work.folder / "test-calls.jsonl",
            )
            step.said = (
                f"{sum(bool(node['judged']) for node in work.tree.plain)} prompts tried on up to {len(found.finalists[0].rows)} rows"
                f"{without(options.shots, sets.made)}"
            )
            step.figures = _figures(work.spec, found)
            step.tables = [tried_table(work)]
        with report.step("order") as step:
            step.calls, step.tokens = strategy.account.calls, strategy.account.tokens
            _tell_orders(strategy.ordered, step)
        with report.step("test") as step:
            judged_step(work, found, step, report.steps[0])
            step.tables.append(_shots(found))
    return ended(report, found.ruling, [report.steps[1].said])


def _refuse_too_many(work: Work, least: int) -> None:
    """Raise UserError where not even the shortest rows make a set, before anything is asked."""
    shortest = sorted(work.rows.train, key=lambda row: len(row.input_text))
    fit = len(fitted(work.ground, Wording.of(work.spec), shortest, least))
    if fit < least:
        what = f"{least} examples leave no room for an input, or are not there: {fit} of {len(shortest)} training rows fit"
        raise UserError(what, where="shots", how="give fewer")


def _figures(spec: "TaskSpec", found: Found) -> list[Figure]:
    own = next(one for one in found.finalists if one.candidate.id == found.start.id)
    named: list[tuple[str, Judged]] = [("best", found.finalists[0]), ("the task's own", own)]
    return [quality_figure(spec, of, one) for of, one in named]


def _tell_orders(ordered: Ordered, step: Step) -> None:
    spread = ordered.spread
    if spread is None:
        step.said = "The order was not tried: there are fewer than two examples, or no calls are left for it."
        step.figures = [Figure("spread over orders", None, reason="fewer than two orders")]
        return
    word = "matters" if spread.p_value < 0.05 else "is not shown to matter"
    step.said = (
        f"The order of the examples {word}: {spread.orders} orders score {spread.lowest:.4f} to {spread.highest:.4f} on {spread.n} rows "
        f"(p {spread.p_value:.4f})."
    )
    step.figures = [
        Figure("spread over orders (standard deviation beyond chance)", spread.spread, spread.low, spread.high, spread.n),
        Figure("lowest order", spread.lowest, n=spread.n),
        Figure("highest order", spread.highest, n=spread.n),
    ]
    rows = tuple((one.candidate.id, one.candidate.origin.note, f"{one.score:.4f}") for one in ordered.judged)
    step.tables = [Table("Orders of the best set", ("id", "order", "score"), rows)]


def _shots(found: Found) -> Table:
    rows = tuple((str(i), shot.item_id, shot.input_text[:120]) for i, shot in enumerate(found.best.wording.shots, 1))
    return Table("Examples that were chosen", ("place", "row", "input"), rows)
