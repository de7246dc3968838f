"""Names of measurements of the machine: those of W&B, and those of mlv."""

from __future__ import annotations

import re

_GPU = re.compile(r"gpu\.(\d+)\.(\w+)\Z")
_OF_GPU = {
    "gpu": ("percent", 1),
    "memoryAllocated": ("memory_percent", 1),
    "memoryAllocatedBytes": ("memory_used_bytes", 1),
    "temp": ("temperature_c", 1),
    "powerWatts": ("power_w", 1),
}
_SYSTEM = {
    "proc.memory.rssMB": ("process_memory_bytes", 1 << 20),
    "proc.cpu.threads": ("process_threads", 1),
    "memory": ("memory_percent", 1),
}


def system_name(name: str) -> tuple[str, int]:
    """Return the name by which mlv knows a measurement of the machine, and a factor for its unit; others keep theirs."""
    match = _GPU.match(name)
    if match and match[2] in _OF_GPU:
        own, factor = _OF_GPU[match[2]]
        return f"gpu{match[1]}_{own}", factor
    return _SYSTEM.get(name, (name, 1))
