"""From a trained adapter folder to a Predictor, whatever its family."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pp_assets.task.spec import TaskSpec
from pp_resources.artifacts import SLUG
from pp_resources.device import CPU, find_device
from pp_resources.errors import UserError
from pp_resources.models.bases import find_base, weights_sha256
from pp_resources.models.interface import Predictor


class Bases:
    """Base models that are loaded once, each for all adapters that were trained on it."""

    def __init__(self, device: str = CPU) -> None:
        self.device = device
        self._loaded: dict[tuple[str, str], Any] = {}

    def encoder(self, base: Path) -> Any:
        """The SharedEncoder of a base."""
        from pp_resources.models.encoder.shared import SharedEncoder

        return self._one("encoder", base, SharedEncoder)

    def causal(self, base: Path) -> Any:
        """The SharedCausal of a base."""
        from pp_resources.models.causal_shared import SharedCausal

        return self._one("causal", base, SharedCausal)

    def _one(self, family: str, base: Path, make: Any) -> Any:
        key = family, weights_sha256(base)
        if key not in self._loaded:
            self._loaded[key] = make(base, find_device(self.device))
        return self._loaded[key]


def load_predictor(folder: Path, spec: TaskSpec, threads: int, device: str = CPU, bases: Bases | None = None) -> Predictor:
    """Load `folder` (adapter/, tokenizer/, training.json) on the base that it was trained on, with `threads` CPU threads, on `device` (as
    PP_DEVICE; it need not be the one of the training). With `bases` on a base that others use too, and on its device.

    Raises UserError when the device or the base is not to be found or its weights are not those of the training.
    """
    import torch

    torch.set_num_threads(threads)
    training = json.loads((folder / "training.json").read_text("utf-8"))
    name = training["variant"]
    if training["family"] == "ensemble":
        return _load_ensemble(folder, name, spec, threads, device, bases)
    base, schema = base_of(training), spec.io_schema.output
    if training["family"] == "encoder":
        if bases:
            return bases.encoder(base).add(name, folder, schema)  # type: ignore[no-any-return]
        from pp_resources.models.encoder.predictor import EncoderPredictor

        return EncoderPredictor.load(name, folder, base, schema, device=find_device(device))
    from pp_assets.task.causal_prompt import golden_prompt, prompt_of
    from pp_resources.models.causal import CausalPredictor

    options = {"constrained": spec.decoding.constrained, "max_new_tokens": training["max_new_tokens"], "tokenizer": folder / "tokenizer"}
    parts = (folder / "adapter", schema, prompt_of(spec))
    if bases:
        made = bases.causal(base).add(name, *parts, **options)
    else:
        made = CausalPredictor.from_adapter(name, base, *parts, device=find_device(device), **options)
    if golden_prompt(made.encoder) != training["golden_prompt"]:
        raise UserError(
            "the task's prompt, the chat template or the tokenizer is not the one that the adapter was trained with",
            where=str(folder),
            how="train again, or give back the files of the training",
        )
    return made  # type: ignore[no-any-return]


def _load_ensemble(folder: Path, name: str, spec: TaskSpec, threads: int, device: str, bases: Bases | None) -> Predictor:
    from pp_resources.models.ensemble.predictor import COMBINER, MEMBERS, Combiner, EnsemblePredictor

    combiner = Combiner.of(json.loads((folder / COMBINER).read_text("utf-8")))
    if not all(SLUG.match(member) for member in combiner.members):
        raise UserError("members are named by slugs", where=str(folder / COMBINER))
    members = [load_predictor(folder / MEMBERS / member, spec, threads, device, bases) for member in combiner.members]
    return EnsemblePredictor(name, members, spec.io_schema.output, combiner)


def bases_of(training: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the weights of each base that `training` (training.json) needs, by its id: more than one where members of an ensemble
    have different bases."""
    needed = training["members"].values() if training["family"] == "ensemble" else [training]
    return {one["base_model_id"]: one["base_weights_sha256"] for one in needed}


def base_of(training: Mapping[str, Any]) -> Path:
    """The folder of the base that `training` (training.json) speaks of. Raises UserError when its weights are others."""
    base = find_base(training["base_model_id"])
    if weights_sha256(base) != training["base_weights_sha256"]:
        raise UserError(
            f"the weights in {base} are not those that the adapter was trained on",
            where=f"base model {training['base_model_id']!r}",
            how=f"need SHA-256 {training['base_weights_sha256']}",
        )
    return base
