"""Let the C library keep the memory it has: fresh pages cost more than the arithmetic that fills them."""

import ctypes
import os
from functools import cache

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, ARENA_MAX = -1, -2, -3, -8  # names of mallopt(3)
SWITCH = "NEURAL_GRAPHS_KEEP_MEMORY"


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
