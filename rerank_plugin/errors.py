"""Every error this project raises on purpose.

    RerankError
    ├── ConfigError          a setting is wrong (also a ValueError)
    ├── DataError            a file or record cannot be used
    ├── EngineError          the search engine did not do what was asked
    ├── ModelFolderError     a model folder is missing, broken or tampered with
    ├── RefusedError         the model cannot read the language that is searched in
    ├── VectorIndexError     a vector index is missing, broken or belongs to another index
    └── MissingExtraError    an optional dependency is not installed

Each message is one line: what was wanted, what was found, what to do. The command line prints it and exits non-zero.
"""

from __future__ import annotations

import errno


class RerankError(Exception):
    """Base of all errors of this project."""


class ConfigError(RerankError, ValueError):
    """A setting has a value it may not have."""


class DataError(RerankError):
    """A file, a record or a query cannot be used."""


class EngineError(RerankError):
    """The search engine refused or failed a request that this project needed."""


class ModelFolderError(RerankError):
    """A model folder is missing, incomplete, of another format, or fails its checksums."""


class RefusedError(RerankError):
    """Not a failure: the model does not know the language, so the engine's own order is the better one."""


class VectorIndexError(RerankError):
    """A vector index is missing, broken, or does not belong to the index it is used with."""


class MissingExtraError(RerankError):
    """An optional dependency is needed and absent; the message names the extra that brings it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'rerank-plugin[{extra}]'")


#: What to do about the refusals of a disk that a person can act on.
_TO_DO = {
    errno.ENOSPC: "free some space or name another place",
    errno.EDQUOT: "free some space or name another place",
    errno.EFBIG: "the limit of a file's size is reached; raise it or name another place",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name a place that this account may use, or change its owner",
    errno.EPERM: "name a place that this account may use, or change its owner",
    errno.ENOTDIR: "a part of the path is a file; name another place",
    errno.ENOENT: "check the path; its folder may be missing, or be one where nothing can be made",
}


def os_error_line(error: OSError) -> str:
    """What the operating system refused, where, and what to do about it."""
    place = f"{error.filename}: " if error.filename else ""
    hint = f"; {_TO_DO[error.errno]}" if error.errno in _TO_DO else ""
    return f"{place}{error.strerror or error}{hint}"
