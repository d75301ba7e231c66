"""The versions of libraries, for what is written down beside results."""

import platform
from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "not installed"  # run from a source tree


def version_of(library: str) -> str:
    """The installed version of a library, this one included."""
    try:
        return version(library)
    except PackageNotFoundError:
        return UNKNOWN


def versions(*libraries: str) -> dict[str, str]:
    """The versions of Python, this library, and others."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in ("neural-graphs", *libraries)}}
