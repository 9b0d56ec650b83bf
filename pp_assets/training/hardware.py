"""What the processor can do."""

import torch


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 natively; elsewhere autocast would be slower than fp32, not faster."""
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
