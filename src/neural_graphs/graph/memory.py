"""Memory of this machine: what there is, and how long the C library keeps what it has.

Fresh pages cost more than the arithmetic that fills them.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8  # names of mallopt(3)
SWITCH = "NEURAL_GRAPHS_KEEP_MEMORY"
CGROUPS = Path("/sys/fs/cgroup")
HEAP = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]


@cache
def keep_memory() -> bool:
    """Tell glibc, once per process, to serve large blocks from memory it never gives back; True where it agreed.

    Without it every large tensor is mapped anew and its pages are faulted in one by one (measured: 4 GB/s instead of
    30 on blocks above 32 MB). Set the environment variable NEURAL_GRAPHS_KEEP_MEMORY=0 to leave the C library alone;
    on other systems nothing happens.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return False
    options = {MMAP_THRESHOLD: 2**31 - 1, TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 2**26, ARENA_MAX: 1}
    return sum(mallopt(option, value) for option, value in options.items()) == len(options)


def give_back() -> bool:
    """Return to the system what the C library holds and nothing uses; True where there was any.

    Batches of graphs of all sizes leave holes of all sizes between them: without this a long training on a mixed zoo
    comes to hold several times what it needs (measured: 0.7 GB in use, 6 GB held after 900 steps).
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError, TypeError):  # not glibc
        return False


def available(device: "torch.device") -> int | None:
    """Bytes that a process can still use on a device, about; None where the system does not tell.

    On the CPU what the kernel and the control groups leave, and what the C library holds and does not use.
    """
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    left = [room for room in (_machine(), *_control_groups()) if room is not None]
    return min(left) + _held() if left else None


def _machine() -> int | None:
    """What the kernel can give without swapping; elsewhere all memory there is."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        names = getattr(os, "sysconf_names", {})
        known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None
    amounts = dict(line.split(":", 1) for line in lines)
    return int(amounts["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in amounts else None


def _control_groups() -> Iterator[int]:
    """What each control group above this process leaves, version 2 and 1."""
    folders: dict[Path, tuple[str, str, str]] = {}
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = CGROUPS / "memory"
        else:
            continue
        here = root / path.lstrip("/")
        folders |= {folder: names for folder in (here, *here.parents) if folder.is_relative_to(root)}
    for folder, (limit, usage, cached) in folders.items():
        most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
        if most.isdecimal() and used.isdecimal():
            found = re.search(rf"^{cached} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            yield max(0, int(most) - int(used) + (int(found[1]) if found else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


class _Heap(ctypes.Structure):
    """`struct mallinfo2` of mallinfo(3)."""

    _fields_: ClassVar = [(name, ctypes.c_size_t) for name in HEAP]


def _held() -> int:
    """Bytes that the C library holds for this process and does not use."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):  # not glibc, or older than 2.33
        return 0
    mallinfo2.restype = _Heap
    return int(mallinfo2().fordblks)
