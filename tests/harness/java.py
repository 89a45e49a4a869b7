"""Finds a Java that OpenSearch 3 runs on, or that something else does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: OpenSearch 3 needs at least this.
LEAST = 21
#: Where Linux distributions and macOS put their JDKs, one folder each.
_SHELVES = (
    (Path("/usr/lib/jvm"), ""),
    (Path("/usr/java"), ""),
    (Path("/opt/java"), ""),
    (Path("/Library/Java/JavaVirtualMachines"), "Contents/Home"),
)


def java_home(least: int = LEAST, most: int = 999) -> Path | None:
    """The first that will do: named by the environment, on PATH, installed; None where there is none."""
    for home in _candidates():
        version = java_version(home)
        if version is not None and least <= version <= most:
            return home
    return None


def java_version(home: Path) -> int | None:
    """The feature release (17, 21, ...) of a Java home, None where there is none; a JDK's ``release`` file says it."""
    java = home / "bin" / "java"
    if not os.access(java, os.X_OK):
        return None
    release = home / "release"
    if release.is_file():
        found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(encoding="utf-8"), re.MULTILINE)
    else:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        found = re.search(r'version "(\d+)', told.stderr)
    return int(found.group(1)) if found else None


def _candidates() -> Iterator[Path]:
    for variable in ("OPENSEARCH_JAVA_HOME", "JAVA_HOME"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    for shelf, below in _SHELVES:
        if shelf.is_dir():
            yield from (home / below for home in sorted(shelf.iterdir(), reverse=True))
