"""What the device can do."""

import torch


def has_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether this device multiplies bf16 faster than fp32.

    AVX-512 instructions alone are not enough: AMD's are twice as fast as its fp32 (215 against 110 GFLOP/s a core), Intel's at half the
    speed of fp32 (80 against 145), which leaves the tiles of AMX to Intel. Decided by what the processor is, not by a timing: the same
    processor must give the same bytes.
    """
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    features = torch.cpu.get_capabilities()
    intel = str(features.get("cpu_name", "")).startswith("Intel")
    return bool(features.get("amx_bf16") or (features.get("avx512_bf16") and not intel))
