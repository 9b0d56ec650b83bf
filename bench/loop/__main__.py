"""A shop's year in half an hour: customers ask the real gateway, say what was wrong, and the platform learns from it by itself.

    python -m bench.loop [--visits 5000] [--seed 1] [--home .pp/demo-loop]

Simulated are the customers (examples/support_chat/population.py), two remote models and the clock. Real are the gateway, the store,
feedback, sensors, conditions, jobs, training, evaluation, the paired gates, shadow copies, weights and roll-backs. The daemon's part is
played at every hundredth visit, so that the same seed gives the same decisions: the digest of them is in the last line.
"""

import argparse
import heapq
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench.loop import remote, world
from bench.loop.gateway import Served, running
from bench.loop.story import Story
from bench.loop.ticks import Ticks
from examples.support_chat.population import Visit, population
from examples.support_chat.reactions import react, seconds
from pp_assets.execute import Runner
from pp_assets.task.spec import Task, load_task
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.ids import clock

BEGIN = 1_790_000_000 * 10**9  # nanoseconds since 1970, in 2026
EVERY = 100  # visits between two turns of the platform


class Shop:
    """Visits one after the other, and what their customers send later."""

    def __init__(self, task: Task, expert: remote.Expert, story: Story) -> None:
        self._task, self._expert, self._story = task, expert, story
        self._waiting: list[tuple[int, int, dict[str, Any]]] = []
        self._sent = 0
        self.time = BEGIN

    def visit(self, gateway: Served, visit: Visit) -> None:
        """Ask, and send what is due."""
        self.time += round(seconds(visit) * 1e9)
        self._expert.truths[visit.text] = visit.truth
        asked = {"function_name": self._task.name, "input": visit.text, "episode_id": visit.episode, "subject": visit.subject}
        said = gateway.post("/inference", asked)
        output = said["output"].get("parsed")
        self._story.answered(said, visit.right(output))
        for reaction in react(visit, output):
            self._sent += 1
            body = reaction.body(self._task.name, said["inference_id"], visit.episode)
            heapq.heappush(self._waiting, (visit.number + reaction.after, self._sent, body))
        while self._waiting and self._waiting[0][0] <= visit.number:
            gateway.post("/feedback", heapq.heappop(self._waiting)[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=5000, help=f"at least {EVERY}: the platform has its turn after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, default=PROJECT_ROOT / ".pp" / "demo-loop", help="emptied first")
    args = parser.parse_args()
    if args.visits < EVERY:
        parser.error(f"--visits {args.visits}: give {EVERY} or more")
    story = play(args.home.resolve(), args.visits, args.seed, lambda line: print(line, file=sys.stderr, flush=True))
    file, picture = args.home / "loop.json", args.home / "loop.png"
    story.write(file, picture)
    print(f"plot: {picture}\nfigures and decisions: {file}\n{story.result()}")


def play(home: Path, visits: int, seed: int, say: Callable[[str], None]) -> Story:
    """The whole story, from an empty installation on."""
    story, settings = Story(say), world.settings_of(home)
    expert = remote.Expert(load_task(world.NAME, PROJECT_ROOT / "tasks").output_schema, world.MODELS, seed)
    with remote.served(expert) as url, ExitStack() as stack:
        task = world.make(home, seed, url)
        shop = Shop(task, expert, story)
        stack.enter_context(clock(lambda: shop.time))
        ticks = stack.enter_context(closing(Ticks(settings, story.ran)))
        ticks.settle()
        with Runner(settings) as runner:
            runner.train(task.name, world.SMALL)
        ticks.settle()
        gateway = stack.enter_context(running(settings))
        for visit in population(task, seed, visits):
            shop.visit(gateway, visit)
            if visit.number % EVERY == EVERY - 1:
                gateway.settle()
                ticks.settle()
                gateway.reload()
                story.turn(visit.number + 1, settings.home, task.name)
    return story


if __name__ == "__main__":
    main()
