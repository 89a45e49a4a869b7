"""Failures of the disk and of the lock as the engine's errors: one line that names the path and what to do."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank_plugin.engines.embedded.refusal import Refusal
from rerank_plugin.errors import MissingExtraError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PROBE_BYTES = 4_000_000
_CODE = re.compile(r"os error (\d+)|code: (\d+)")


@contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns what the operating system and tantivy raise into a ``Refusal``; lets refusals pass.

    :param doing: completes "cannot ...", as in "write".
    """
    try:
        yield
    except (Refusal, MissingExtraError):
        raise
    except OSError as error:
        raise _refusal(path, doing, error.errno, error.strerror or str(error)) from error
    except ValueError as error:  # all that tantivy-py raises
        text = str(error)
        if "LockBusy" in text:
            raise locked(path) from error
        code = _CODE.search(text)
        if code is None and "writer was killed" in text:
            _probe(path, doing)
        raise _refusal(path, doing, int(code[1] or code[2]) if code else None, text) from error


def _probe(path: Path, doing: str) -> None:
    """Finds out what ended one of tantivy's threads, which only says that it ended, by writing a file of our own."""
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * _PROBE_BYTES)
    except OSError as error:
        raise _refusal(path, doing, error.errno, error.strerror or str(error)) from error


def locked(path: Path) -> Refusal:
    """500: somebody else writes this index."""
    return Refusal(
        500,
        "lock_obtain_failed_exception",
        f"cannot write {path}: another process is writing this index; close its client or wait until it ends, then "
        "try again (searching goes on meanwhile)",
    )


def _refusal(path: Path, doing: str, code: int | None, text: str) -> Refusal:
    said = " ".join(text.split())[:300]
    if code in _FULL:
        reason = f"cannot {doing} {path}: no space left on the disk ({said}); free some, then try again"
    elif code in _FORBIDDEN:
        # Readers need it too: tantivy opens an index under a lock file.
        reason = f"cannot {doing} {path}: no permission to write there ({said}); use another folder or change its owner"
    else:
        reason = f"cannot {doing} {path}: {said}"
    return Refusal(500, "access_denied_exception" if code in _FORBIDDEN else "i_o_exception", reason)
