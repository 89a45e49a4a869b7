"""Lines of JSONL and TSV files, plain or gzipped, numbered; JSON as the engines accept it."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn, cast

from rerank_plugin.errors import DataError


def numbered_lines(file: Path | None, *, blank: bool = False) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and content of every line that is not blank; gzip is told by its first bytes.

    :param file: ``None`` is standard input.
    :param blank: whether blank lines come too.
    :raises DataError: the file cannot be opened, or ends in the middle of its compressed data.
    """
    number = 0
    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as raw:
            buffered = cast(io.BufferedReader, raw)
            zipped = buffered.peek(2)[:2] == b"\x1f\x8b"
            stream: Iterable[bytes] = gzip.GzipFile(fileobj=buffered) if zipped else buffered
            for number, line in enumerate(stream, start=1):
                content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if blank or content.strip():
                    yield number, content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{file or 'standard input'} is cut off or broken after line {number} ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}; check the path") from error


def parse_json(line: bytes) -> Any:
    """The JSON value of a line.

    :raises ValueError: it is no JSON that an engine takes: not UTF-8, NaN or Infinity, half a surrogate pair,
        nested too deeply.
    """
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        if b"\\ud" in line.lower():  # only an escape can make half a pair
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is no character") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def shown(line: bytes) -> str:
    """The beginning of a line as text, for the rejects file."""
    return line[:1000].decode("utf-8", errors="replace").rstrip("\r\n")
