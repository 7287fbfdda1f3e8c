"""Memory that is freed stays with the process, for the next frame.

The C library gives freed memory of 128 KB and more back to the kernel, and the next frame, which needs as much again,
touches every page of it for the first time: at 1920x1080 some 440 page faults a frame, a tenth of the latency.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
BYTES_KEPT = (1 << 30, 1 << 25)  # bytes to keep: what is enough for any frame, and the most that older C libraries take


def keep_freed_memory() -> bool:
    """Keep what this process frees from now on; return whether the C library (glibc) can do so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc: musl, macOS, Windows
        return False
    kept = [any(mallopt(option, size) for size in BYTES_KEPT) for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD)]
    return all(kept)
