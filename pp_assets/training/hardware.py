"""What the processor can do."""

import torch


def has_bf16(device: str = "cpu") -> bool:
    """Whether this kind of device multiplies bf16 natively; elsewhere autocast would be slower than fp32, not faster."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.cpu.get_capabilities()
    return device == "cpu" and bool(features.get("avx512_bf16") or features.get("amx_bf16"))
