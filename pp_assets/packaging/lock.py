"""repro.lock: what an adapter was made from and with. Its lines without `#` are requirements that pip reads."""

import platform
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from typing import Any

from pp_resources.device import CPU
from pp_resources.fingerprint import code_digest

OURS = "promptprecision"
PACKAGES = ("pp_assets", "pp_resources")


def lock_text(task: str, variant: str, training: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """The whole file. `digests` are of the data, the spec, the adapter and the evaluation, by name."""
    threads, device = training["threads"], training["device"]
    on = "" if device == CPU else f"PP_DEVICE={device.partition(' ')[0]} "
    facts = {
        "reproduce": f"{on}PP_THREADS={threads} pp run {task} --variant {variant}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()} {' '.join(platform.libc_ver())}".strip(),
        "threads": threads,
        "seed": training["seed"],
        "base_model_id": training["base_model_id"],
        "base_weights_sha256": training["base_weights_sha256"],
        **({"initial_adapter_sha256": training["initial_adapter_sha256"]} if "initial_adapter_sha256" in training else {}),
        **{f"member_{i}": f"{name} {one['adapter']}" for i, (name, one) in enumerate(training.get("members", {}).items(), 1)},
        **digests,
        **_torch_facts(training),
        OURS: f"{installed().get(OURS, 'unknown')} code {code_digest(*PACKAGES)}",
    }
    packages = {name: version for name, version in installed().items() if name != OURS}
    # Builds for the CPU carry a local version that only the index of PyTorch has.
    index = ["--extra-index-url https://download.pytorch.org/whl/cpu"] if any(v.endswith("+cpu") for v in packages.values()) else []
    lines = [f"# {name} = {value}" for name, value in facts.items()]
    again = "on the same type of processor with the same thread count" if device == CPU else "on no GPU: sums come out in any order there"
    head = f"# Written when the package was made. Training again gives the same bytes {again}."
    return "\n".join([head, *lines, *index, *(f"{name}=={version}" for name, version in packages.items())]) + "\n"


def lock_facts(text: str) -> dict[str, str]:
    """The `# name = value` lines."""
    return dict(re.findall(r"^# (\w+) = (.*)$", text, re.MULTILINE))


@cache  # the metadata files of hundreds of packages take half a second to read
def installed() -> dict[str, str]:
    """Version of every installed distribution by its normalised name, sorted. Not to be changed: it is the same one for all who ask."""
    found = {re.sub(r"[-_.]+", "-", d.metadata["Name"]).lower(): d.version for d in distributions() if d.metadata["Name"]}
    return dict(sorted(found.items()))


def _torch_facts(training: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {
        "torch_bf16_autocast": training["bf16_autocast"],
        "torch_attention": training.get("attention", "eager"),
        "torch_deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch_matmul_precision": torch.get_float32_matmul_precision(),
        "torch_mkldnn": torch.backends.mkldnn.is_available(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": training["device"],
    }
