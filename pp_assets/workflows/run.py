"""A run of a workflow: each step's output is an artifact that is made once, whatever was there is not asked for again.

An output stands at `workflows/<workflow>/<step>/<digest of all it depends on>/` under the home folder; a run at `workflow_runs/<id>/`.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pp_assets.workflows.grammar import Instance
from pp_assets.workflows.loading import Loaded
from pp_assets.workflows.modes import MODES
from pp_assets.workflows.planned import Planned
from pp_assets.workflows.runs import Record
from pp_assets.workflows.work import Work, write_value
from pp_resources.artifacts import Artifact, ArtifactStore, write_atomic
from pp_resources.errors import UserError
from pp_resources.fingerprint import code_digest, digest, file_sha256
from pp_resources.models.chat import ChatModel
from pp_resources.settings import Settings

STEPS = "workflows"  # the kind of artifact
OUTPUT = "output.json"


@dataclass(frozen=True)
class Place:
    """Where a run works."""

    settings: Settings
    folder: Path
    workspace: Path

    @classmethod
    def of(cls, settings: Settings, loaded: Loaded) -> "Place":
        """A relative workspace_dir is one of the current directory."""
        stated = loaded.defaults.workspace_dir
        own = settings.home / "workspace" / loaded.name if stated is None else Path(stated).expanduser().resolve()
        return cls(settings, loaded.file.resolve().parent, own)

    @property
    def kept(self) -> Path:
        return self.settings.home / "workflow_runs"


class Run:
    """Does the steps of a plan, each when it is told to. `on_done` hears each step's artifact and its seconds."""

    def __init__(
        self,
        place: Place,
        loaded: Loaded,
        plan: list[Planned],
        variables: Mapping[str, Any],
        record: Record,
        open_model: Callable[[str], ChatModel],
        on_done: Callable[[Planned, Artifact, float], None] = lambda *_: None,
    ) -> None:
        self.place, self.loaded, self.plan, self.variables, self.record = place, loaded, {one.name: one for one in plan}, variables, record
        self.open_model, self.on_done = open_model, on_done
        self.store = ArtifactStore(place.settings.home)
        self.made: dict[str, Artifact] = {}

    def perform(self, name: str) -> Artifact:
        """Do one step, all that it reads being done. Raises what the step raises."""
        one = self.plan[name]
        began = time.perf_counter()
        tries = self.record.began(name)
        try:
            work = self._work(one, tries)
            made = self.store.produce(STEPS, f"{self.loaded.name}/{name}", self._inputs(one, work), lambda out: self._build(one, work, out))
            if one.step.output_file:
                self._deliver(made, one.step.output_file)
        except UserError as error:
            self.record.failed(name, str(error))
            raise UserError(error.what, where=f"step {name}: {error.where}".removesuffix(": "), how=error.how) from error
        except BaseException as error:
            self.record.failed(name, f"{type(error).__name__}: {error}")
            raise
        self.made[name] = made
        seconds = time.perf_counter() - began
        self.record.done(one, made, seconds, self._file(one))
        self.on_done(one, made, seconds)
        return made

    def _build(self, one: Planned, work: Work, out: Path) -> dict[str, Any]:
        began = time.perf_counter()
        output = MODES[one.mode](work)
        (out / OUTPUT).write_text(json.dumps(output, ensure_ascii=False, indent=1) + "\n", "utf-8")
        counted = list(work.models.values())
        costs = [model.cost for model in counted]
        return {
            "mode": one.mode,
            "models": sorted({model.name for model in counted}),
            "asked": sum(model.asked for model in counted),
            "cached": sum(model.cached for model in counted),
            "tokens_in": sum(model.tokens_in for model in counted),
            "tokens_out": sum(model.tokens_out for model in counted),
            "cost": None if None in costs else round(sum(cost or 0.0 for cost in costs), 6),
            "seconds": round(time.perf_counter() - began, 3),
            "digest": digest(output),
        }

    def _work(self, one: Planned, tries: int) -> Work:
        outputs = {name: json.loads(self.made[name].file(OUTPUT).read_text("utf-8")) for name in one.reads}
        place = self.place
        return Work(one, self.loaded.defaults, self.variables, outputs, place.folder, place.workspace, place.kept, self.open_model, tries)

    def _inputs(self, one: Planned, work: Work) -> dict[str, str]:
        """All that an output depends on. Without checkpoints also the run, so that nothing of another is taken."""
        texts = [text.text for text in (*one.prompt, *(text for text in one.instances if text))]
        functions = [[f.name, f.description, f.open, f.arguments] for f in one.functions]
        step = one.step.model_dump(mode="json", by_alias=True, exclude={"name", "output_file", "description"})
        metrics = one.component.metrics if one.component else {}
        defaults = self.loaded.defaults.model_dump(mode="json", exclude={"workspace_dir", "variables", "checkpoint_enabled", "retries"})
        found = {
            "step": digest([one.mode, step, texts, functions, one.form, one.rows, one.context, metrics, defaults], ordered=True),
            "reads": digest({name: self.made[name].metadata["digest"] for name in one.reads}),
            "variables": digest({name: self.variables[name] for name in one.used}),
            "files": digest([file_sha256(file) for file in self._files(one, work)]),
            "models": digest(self._models(one, work)),
            "code": code_digest("pp_assets.workflows"),
        }
        return found if self.loaded.defaults.checkpoint_enabled else found | {"run": self.record.id}

    def _models(self, one: Planned, work: Work) -> list[str]:
        """Identities of the models that will be asked."""
        if one.mode == "calculate":
            return []
        asked = [work.model(instance)[0].identity for instance in (one.step.instances or [Instance()])]
        return sorted(set(asked))

    def _files(self, one: Planned, work: Work) -> list[Path]:
        """Files that are read, not being outputs of steps."""
        given = [work.evaluated(one.rows)] if one.rows is not None else []
        config = one.step.extraction_config
        if config is not None:
            source = work.evaluated(config.source)
            given += source if isinstance(source, list) else [source]
        named = [name for name in given if isinstance(name, str) and len(name) < 500 and "\n" not in name]
        return [folder / name for name in named for folder in (self.place.workspace, self.place.folder) if (folder / name).is_file()]

    def _file(self, one: Planned) -> Path | None:
        return self.place.workspace / one.step.output_file if one.step.output_file else None

    def _deliver(self, made: Artifact, name: str) -> None:
        """The output as a file of the workspace, replaced as a whole."""
        file = self.place.workspace / name
        if not file.resolve().is_relative_to(self.place.workspace.resolve()):
            raise UserError(
                f"output_file {name!r} leads out of workspace_dir", where=str(file), how="a folder there is a link: take it away"
            )
        write_atomic(file, write_value(json.loads(made.file(OUTPUT).read_text("utf-8")), name))
