"""Files that exist whole or not at all."""

import hashlib
import os
from pathlib import Path

PARTIAL = ".partial"  # ends the names of files that are being written


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it exists whole or not at all, also after a power cut: temporary file, fsync, rename."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename itself durable
    finally:
        os.close(folder)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
