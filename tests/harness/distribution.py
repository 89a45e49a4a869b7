"""Brings OpenSearch's own distribution onto this machine, once: fetched by Maven, checked, unpacked into a cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.java import LEAST, java_home

VERSION = "3.5.0"
SHA256 = "b676ad392c95a94d8d2bd8785b8b922c7811536daf6a9ec0c7277a34bd8a17a9"
_GROUP = "org.opensearch.distribution.integ-test-zip"
_PLUGIN_GROUP = "org.opensearch.plugin"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A published plugin. One of the release before is said to be of this one: good for tests, supported by nobody."""

    name: str
    version: str
    sha256: str


#: The newest security plugin that is published.
SECURITY = Plugin("opensearch-security", "3.4.0.0", "fc164c084979f7f793d295b6bca56bf8bee76dafb762adef9f14fa872e0a7596")
#: Without its native libraries: a field whose mapping does not name the engine lucene ends the node at its first write.
KNN = Plugin("opensearch-knn", "3.5.0.0", "99fdf3ac9ef95974e276298b83a58532bf21ba13bd5fd96a4b59465b7e613309")


class Unobtainable(Exception):
    """OpenSearch cannot be had here; the message is one line that says what is missing."""


def missing() -> str | None:
    """What this machine lacks to run OpenSearch, in one line; None when nothing is known to be lacking.

    Whether Maven reaches a repository is known only after ``distribution()``.
    """
    if os.name != "posix":
        return "the OpenSearch harness runs on Linux and macOS only"
    if java_home() is None:
        return f"no Java {LEAST} or newer was found; install one or set OPENSEARCH_JAVA_HOME"
    if _unpacked(cache_dir()).is_dir():
        return None
    if shutil.which("mvn") is None:
        return "mvn was not found; install Maven, which fetches the OpenSearch distribution"
    return None


def distribution() -> Path:
    """The home of OpenSearch ``VERSION``, unpacked and never written to by a run.

    :raises Unobtainable: Maven cannot fetch it, or what it fetched is another file.
    """
    cache = cache_dir()
    home = _unpacked(cache)
    with _locked(cache):
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as scratch:
                archive = _fetch(Path(scratch), _GROUP, "opensearch", VERSION, SHA256)
                _unpack(archive, Path(scratch), home)
    return home


def with_plugin(plugin: Plugin) -> Path:
    """The home of OpenSearch ``VERSION`` with a plugin in it.

    :raises Unobtainable: Maven cannot fetch one of them, or what it fetched is another file.
    """
    plain, cache = distribution(), cache_dir()
    home = cache / f"{plain.name}-{plugin.name.removeprefix('opensearch-')}-{plugin.version}"
    with _locked(cache):
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as scratch:
                archive = _fetch(Path(scratch), _PLUGIN_GROUP, plugin.name, plugin.version, plugin.sha256)
                copied = shutil.copytree(plain, Path(scratch) / home.name, copy_function=os.link)
                _plug(archive, plugin.name, copied)
                copied.rename(home)
    return home


def with_vectors() -> Path:
    """The home of OpenSearch ``VERSION``, with the k-NN plugin where that can be had.

    :raises Unobtainable: not even the distribution can.
    """
    try:
        return with_plugin(KNN)
    except Unobtainable:
        return distribution()


def cache_dir() -> Path:
    """``XDG_CACHE_HOME`` or ``~/.cache``, plus ``rerank-plugin``.

    Root's server runs as nobody, who must be able to enter: root takes ``/var/cache`` where its own cache is closed.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if os.geteuid() == 0 and not _open_to_all(home):
        home = Path("/var/cache")
    return home / "rerank-plugin"


def _open_to_all(folder: Path) -> bool:
    existing = (each for each in (folder, *folder.parents) if each.exists())
    return all(each.stat().st_mode & 0o001 for each in existing)


def _unpacked(cache: Path) -> Path:
    return cache / f"opensearch-{VERSION}"


def _fetch(scratch: Path, group: str, name: str, version: str, sha256: str) -> Path:
    """The zip, in a Maven repository of its own so that nothing is left behind twice."""
    repository, artifact = scratch / "maven", f"{group}:{name}:{version}:zip"
    command = ["mvn", "-q", "-B", f"-Dmaven.repo.local={repository}", "-Dtransitive=false", f"-Dartifact={artifact}"]
    if shutil.which("mvn") is None:
        raise Unobtainable(f"mvn was not found; install Maven, which fetches {artifact}")
    told = subprocess.run(
        [*command, "dependency:get"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    archive = repository.joinpath(*group.split("."), name, version, f"{name}-{version}.zip")
    if told.returncode != 0 or not archive.is_file():
        said = [line for line in (told.stdout + told.stderr).splitlines() if "ERROR" in line]
        reason = said[0].strip().removeprefix("[ERROR] ") if said else f"exit status {told.returncode}"
        raise Unobtainable(f"mvn could not fetch {artifact}: {reason}")
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise Unobtainable(f"{artifact} has sha256 {found}, wanted {sha256}; it was not unpacked")
    return archive


def _unpack(archive: Path, scratch: Path, home: Path) -> None:
    """Whole or not at all: unpacked beside ``home``, then renamed."""
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(scratch)
    unpacked = scratch / home.name
    for path in (unpacked, *unpacked.rglob("*")):
        runs = path.is_dir() or path.parent == unpacked / "bin"
        path.chmod(0o755 if runs else 0o644)
    unpacked.rename(home)


def _plug(archive: Path, name: str, home: Path) -> None:
    """The plugin's files where its installer would put them."""
    plugin = home / "plugins" / name
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(plugin)
    descriptor = plugin / "plugin-descriptor.properties"
    lines = descriptor.read_text(encoding="utf-8").splitlines()
    changed = [f"opensearch.version={VERSION}" if line.startswith("opensearch.version=") else line for line in lines]
    descriptor.write_text("\n".join(changed) + "\n", encoding="utf-8")
    config = home / "config" / name
    if (plugin / "config").is_dir():
        (plugin / "config").rename(config)
    for path in (plugin, *plugin.rglob("*"), *((config, *config.rglob("*")) if config.is_dir() else ())):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One process at a time fetches; the others wait and find it done."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
