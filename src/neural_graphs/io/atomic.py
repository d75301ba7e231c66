"""Files that exist whole or not at all."""

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial"  # ends the names of files that are being written


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it exists whole or not at all, also after a power cut: temporary file, fsync, rename.

    Raises OSError naming the file where the disk does not take it, and leaves nothing behind then.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename itself durable
    finally:
        os.close(folder)


def make_room(path: Path) -> None:
    """Make the folder of a file that is written later, so that what is in its way is said before the work.

    Raises OSError naming the file where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    refused = errno.EISDIR if path.is_dir() else None if os.access(path.parent, os.W_OK) else errno.EACCES
    if refused is not None:
        raise OSError(refused, os.strerror(refused), str(path))


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
