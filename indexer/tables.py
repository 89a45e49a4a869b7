"""Rows of CSV, TSV and Parquet files as the lines of JSON that everything else reads, a bounded part at a time."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from indexer.lines import numbered_lines, parse_json
from rerank_plugin.errors import DataError, MissingExtraError

#: Cells of these columns are text even where they read as numbers.
TEXT_COLUMNS = ("_id", "id", "title", "text")
DELIMITERS = ",;\t|"
#: Rows of a Parquet row group that are in memory at once.
ROWS = 1024


def csv_lines(file: Path | None) -> Iterator[tuple[int, bytes]]:
    """Row number, the header being row 0, and the row as a line of JSON.

    The delimiter is the one of comma, semicolon, tab and bar that the header has most of. A cell that reads as a JSON
    number, list or object is one; an empty cell is absent; every other one is text.
    A dot in a column's name goes deeper.

    :param file: plain or gzipped; ``None`` is standard input.
    :raises DataError: the file cannot be read, is not UTF-8, or has no usable header.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    lines = _decoded(file)
    header = next(lines, None)
    if header is None:
        return
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    if len(set(names)) != len(names) or not any(names):
        raise DataError(f"{file or 'standard input'}: the first line of a CSV file names its columns, each once")
    try:
        for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), start=1):
            if not cells:
                continue
            if len(cells) > len(names):
                # Not the row that was meant: a delimiter that is not quoted has moved its cells.
                yield number, b"%d cells under %d columns" % (len(cells), len(names))
                continue
            found = {
                name: value for name, cell in zip(names, cells, strict=False) if (value := _cell(name, cell)) != ""
            }
            yield number, _line(_nested(found))
    except csv.Error as error:
        raise DataError(f"{file or 'standard input'} is no CSV file ({error}); quote cells that hold quotes") from error


def parquet_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Row number from 1 and the row as a line of JSON, row group by row group; nulls and NaN are absent.

    :raises DataError: the file is no Parquet file, or is broken.
    :raises MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "index") from error

    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                for batch in opened.iter_batches(batch_size=ROWS, row_groups=[group]):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, _line(_nested(row))
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{file} cannot be read as Parquet after row {number} ({reason}); write it again") from error


def _decoded(file: Path | None) -> Iterator[str]:
    """The physical lines of a text file, gzipped or not; a quoted cell may reach over several."""
    number = 0
    for number, line in numbered_lines(file, blank=True):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{file or 'standard input'}, line {number}: not UTF-8 ({error.reason}); convert it"
            ) from error


def _cell(name: str, cell: str) -> Any:
    stripped = cell.strip()
    if name in TEXT_COLUMNS or stripped[:1] not in "-0123456789[{":
        return cell
    try:
        return parse_json(stripped.encode()) if stripped else ""
    except ValueError:
        return cell


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with ``a.b`` as ``b`` in an object ``a``, and without absent values."""
    nested: dict[str, Any] = {}
    for name, value in row.items():
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        *above, last = name.split(".") if name.strip(".") else [name]
        place = nested
        for key in above:
            deeper = place.setdefault(key, {})
            if not isinstance(deeper, dict):
                raise DataError(f"the columns {key} and {name} cannot both be there: rename one of them")
            place = deeper
        place[last] = value
    return nested


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, default=_plain).encode("utf-8", errors="surrogatepass")


def _plain(value: Any) -> Any:
    """What a value of a table is in JSON."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
