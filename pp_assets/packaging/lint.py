"""Which runtime takes an adapter, and why not: read from the converters and loaders of the runtimes, not tried here.

The golden prompts of the package are the proof; this table saves the attempt.
"""

from collections.abc import Mapping, Sequence
from typing import Any

RUNTIMES = ("transformers", "vllm", "ollama", "llama.cpp", "merged")
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
# Ollama converts safetensors adapters of these two architectures only; Mistral counts as llama there.
OLLAMA_BASES = {"LlamaForCausalLM", "MistralForCausalLM", "Gemma2ForCausalLM"}
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ACTIVATED = "alora_invocation_tokens"
_VARIANTS = ("use_qalora", "use_bdlora", "arrow_config", ACTIVATED, "target_parameters", "kasa_config", "velora_config")
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "eva", "lora_ga")


def lint_adapter(
    adapter_config: Mapping[str, Any], base_config: Mapping[str, Any], left_after_merging: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """One entry a runtime: {"runtime", "ok", "reason"}. `adapter_config` is peft's, `base_config` the base model's config.json,
    `left_after_merging` the share of the adapter's effect that is left when it is merged in a precision, by its name.

    An encoder (or no adapter at all) runs in transformers only: its heads are this project's own.
    """
    architecture = next(iter(base_config.get("architectures") or ["unknown"]))
    if not adapter_config or not architecture.endswith("ForCausalLM"):
        reason = "an encoder with heads of its own: no text is generated, so that servers of language models cannot run it"
        first = {"runtime": "transformers", "ok": True, "reason": "through promptprecision, which has the heads"}
        return [first, *({"runtime": name, "ok": False, "reason": reason} for name in RUNTIMES[1:])]
    shares = left_after_merging or {}
    merge = _against_merging(adapter_config, base_config)
    against = {
        "transformers": _against_start(adapter_config),
        "vllm": _against_vllm(adapter_config),
        "ollama": _against_ollama(adapter_config, architecture),
        "llama.cpp": _against_converted(adapter_config),
        "merged": merge,
    }
    fine = {
        "transformers": f"peft loads it on {architecture}",
        "vllm": f"plain LoRA of rank {adapter_config.get('r')} on linear layers; check that your vLLM serves LoRA on {architecture}",
        "ollama": "llama or gemma2 architecture, plain LoRA, whole alpha; the base's tokenizer must be one that Ollama knows",
        "llama.cpp": _CONVERT + (_BEGINS if adapter_config.get(ACTIVATED) else ""),
        "merged": _how_to_merge(shares),
    }
    return [{"runtime": n, "ok": not against[n], "reason": "; ".join(against[n]) or fine[n]} for n in RUNTIMES]


def lint_ensemble(members: Sequence[str]) -> list[dict[str, Any]]:
    """The same for several adapters behind one combiner."""
    reason = f"the combiner of {', '.join(members)} is this project's own: package and serve a member alone"
    first = {"runtime": "transformers", "ok": True, "reason": "through promptprecision, which asks the members and combines them"}
    return [first, *({"runtime": name, "ok": False, "reason": reason} for name in RUNTIMES[1:])]


_CONVERT = "plain LoRA: convert with convert_lora_to_gguf.py, the base with convert_hf_to_gguf.py"
_BEGINS = "; llama-server switches it on at its alora_invocation_tokens, so keep them in the prompt once"
KEPT = 0.9  # of an adapter's effect: with less, a merged model is another one


def _how_to_merge(shares: Mapping[str, float]) -> str:
    fine = [name for name in ("bfloat16", "float16", "float32") if shares.get(name, 1.0) >= KEPT]
    lost = [f"{name} leaves {share:.0%} of its effect" for name, share in shares.items() if share < KEPT]
    how = f"merge in {' or '.join(fine)} with peft's merge_and_unload, then convert or quantise and evaluate again"
    return "; ".join([how, *lost])


def vllm_rank(rank: int) -> int:
    """The smallest `--max-lora-rank` that vLLM offers for this rank; its default, 16, is too small for many adapters."""
    return next(size for size in VLLM_RANKS if size >= rank)


def _against_start(config: Mapping[str, Any]) -> list[str]:
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        return [f"started by {start}, which changes the base's weights: convert it to plain LoRA first"]
    return []


def _against_plain(config: Mapping[str, Any]) -> list[str]:
    """What only transformers and a merge carry."""
    found = _against_start(config)
    if config.get("peft_type", "LORA") != "LORA":
        return [f"{config['peft_type']} is not LoRA"]
    if config.get("use_dora"):
        found.append("DoRA has magnitudes that it does not read: merge")
    variants = [name for name in _VARIANTS if config.get(name)]
    if variants:
        found.append(f"a variant of LoRA that it does not read ({', '.join(variants)})")
    if config.get("modules_to_save") or config.get("trainable_token_indices"):
        found.append("whole modules or new tokens were trained (modules_to_save), which it does not load: merge")
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        found.append("biases were trained: merge")
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("layer_replication"):
        found.append("ranks, alphas or layers differ from module to module, which is lost: merge")
    return found


def _against_vllm(config: Mapping[str, Any]) -> list[str]:
    found = _against_plain(config) + _against_targets(config)
    rank = config.get("r")
    if not isinstance(rank, int) or not 1 <= rank <= VLLM_RANKS[-1]:
        found.append(f"rank {rank} is not between 1 and {VLLM_RANKS[-1]}")
    return found


def _against_converted(config: Mapping[str, Any]) -> list[str]:
    found = _against_plain({**config, ACTIVATED: None})
    if config.get("use_rslora"):
        # The scale alpha/sqrt(r) is read as alpha/r.
        found.append("rsLoRA is read as plain LoRA: write lora_alpha = alpha * sqrt(r) first, or merge")
    return found


def _against_ollama(config: Mapping[str, Any], architecture: str) -> list[str]:
    found = _against_converted(config) + _against_targets(config)
    if config.get(ACTIVATED):
        found.append("an activated adapter, which it would apply to the instruction too")
    if architecture not in OLLAMA_BASES:
        found.append(f"safetensors adapters are converted for llama and gemma2 only, this base is {architecture}: use a GGUF LoRA or merge")
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int) or isinstance(alpha, bool) or alpha < 0:
        found.append(f"lora_alpha {alpha!r} is not a whole number, which the converter needs")
    return found


def _against_targets(config: Mapping[str, Any]) -> list[str]:
    targets = config.get("target_modules") or []
    names = [targets] if isinstance(targets, str) else list(targets)
    others = sorted({name.rpartition(".")[2] for name in names} - LINEAR)
    return [f"adapts {', '.join(others)}, beyond the seven linear projections that it maps: merge"] if others else []


def _against_merging(config: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    found = _against_start(config)
    if config.get(ACTIVATED):
        found.append("an activated adapter leaves the instruction to the base, which merged weights cannot")
    if base.get("quantization_config"):
        found.append("trained on a quantised base: merge on the de-quantised one and evaluate again")
    return found
