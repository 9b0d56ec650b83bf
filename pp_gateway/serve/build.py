"""Makes what is served from configuration, tasks and packages: all of it beside what is served now, or none of it."""

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pp_assets.champion import champion_file
from pp_assets.flywheel.trial import trial_file
from pp_assets.pipeline import PACKAGES
from pp_assets.providers import providers_file
from pp_assets.serving.examples import Examples
from pp_assets.serving.local import LocalModels
from pp_assets.serving.remotes import key_of, settled
from pp_assets.serving.spec import Remote
from pp_assets.task.spec import list_tasks, load_task
from pp_gateway.serve.config import read_config
from pp_gateway.serve.engine import Engine
from pp_gateway.serve.generation import Generation
from pp_gateway.serve.parts import Parts
from pp_gateway.serve.upstream import Upstream
from pp_gateway.serve.weights import Decisions
from pp_resources.artifacts import ArtifactStore
from pp_resources.fingerprint import digest
from pp_resources.settings import Settings


class Builder:
    """Builds generations from one installation. Models, examples and connections that two of them share are made once."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        config: Path | None = None,
        decisions: Decisions | None = None,
        key: str = "",
        examples: Examples,
    ) -> None:
        self.settings, self.engine, self.config_file = settings, engine, config
        self.local, self.artifacts = LocalModels(settings), ArtifactStore(settings.home)
        self.decisions, self.key, self.examples = decisions, key, examples
        self._upstreams: dict[str, Upstream] = {}
        # Not the engine's thread: answers go on while models are loaded.
        self.loader = ThreadPoolExecutor(1, "loader")

    def watched(self) -> dict[str, tuple[int, int]]:
        """What a generation depends on: files with their times and sizes."""
        home, tasks = self.settings.home, self.settings.tasks
        files = [file for file in (self.config_file, providers_file(self.settings)) if file]
        files += [file for name in list_tasks(tasks) for file in (tasks / name).iterdir() if file.suffix in (".yaml", ".yml", ".json")]
        files += [file(home, name) for name in list_tasks(tasks) for file in (champion_file, trial_file)]
        files += sorted((home / PACKAGES).glob("*/*/CURRENT")) + sorted((home / "datasets").glob("*/CURRENT"))
        found = {}
        for file in files:
            try:
                stat = file.stat()
            except OSError:
                continue
            found[str(file)] = (stat.st_mtime_ns, stat.st_size)
        return found

    async def build(self) -> Generation:
        """A whole generation. Raises UserError for the first thing that is wrong; nothing has changed then."""
        made = await asyncio.get_running_loop().run_in_executor(self.loader, self._parts)
        return made.assemble()

    def _parts(self) -> Parts:
        config = read_config(self.config_file)
        names = config.tasks if config.tasks is not None else list_tasks(self.settings.tasks)
        parts = Parts(self, config)
        for name in names:
            task = load_task(name, self.settings.tasks)
            if not task.spec.archived:
                parts.add(task)
        for name, remote in config.models.items():
            settled_ = settled(remote, self.settings, f"models.{name}")
            parts.remotes[name] = (settled_, key_of(settled_, f"models.{name}"))
        return parts

    def upstream(self, remote: Remote, key: str | None) -> Upstream:
        """The one connection pool of a remote model, with what it remembers of failures."""
        name = digest([remote.model_dump(), key])
        if name not in self._upstreams:
            self._upstreams[name] = Upstream(remote, key)
        return self._upstreams[name]

    def keep(self, keys: Collection[str]) -> None:
        """Let go of all models but these."""
        self.local.keep(keys)
        self.examples.keep(keys)

    def upstreams(self) -> dict[str, Upstream]:
        """All connection pools, by address and model."""
        return {f"{one.remote.url} {one.remote.model}": one for one in self._upstreams.values()}

    def close(self) -> None:
        """Let go of connections and threads."""
        self.examples.close()
        for upstream in self._upstreams.values():
            upstream.close()
        self.engine.close()
        self.loader.shutdown(wait=False, cancel_futures=True)
