"""The sizes of the machine's caches, and which of them holds so many bytes."""

from collections.abc import Mapping
from pathlib import Path

CPU = Path("/sys/devices/system/cpu/cpu0/cache")
MIB = 1 << 20
OUT_OF_CACHE = 64 * MIB  # at least, and more than the last cache
UNITS = {"K": 1 << 10, "M": 1 << 20}

Caches = Mapping[int, int]  # bytes by level


def cache_sizes(cpu: Path = CPU) -> Caches:
    """The caches for data; nothing where the system does not tell."""
    sizes = {}
    for index in sorted(cpu.glob("index*")):
        level, kind, size = (
            (index / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            sizes[int(level)] = int(size[:-1]) * UNITS[size[-1]]
    return sizes


def place(size: int, caches: Caches, threads: int = 1) -> str:
    """Where so many bytes sit, shared out among threads: L1, L2, L3, memory; "" if not clear.

    The last cache is taken for shared by all cores, the others for a core's own.
    """
    for level in sorted(caches):
        if size <= caches[level] * (1 if level == max(caches) else threads):
            return f"L{level}"
    return "memory" if caches and size >= OUT_OF_CACHE else ""


def describe_caches(caches: Caches) -> str:
    texts = []
    for level, size in sorted(caches.items()):
        texts.append(
            f"L{level} {size // 1024} KiB" if size < MIB else f"L{level} {size / MIB:g} MiB"
        )
    return ", ".join(texts) or "unknown"
