"""Tables in memory, without I/O beyond reading one file."""

import csv

# Only modules that are loaded while the component is built are in it, and codecs are loaded by name.
import encodings.utf_8_sig  # noqa: F401
import io
import json
from pathlib import Path

FILE_BYTES = 8 << 20


class TableError(Exception):
    """What is wrong, for the caller to read."""


class Table:
    """Named columns and rows of text."""

    def __init__(self, columns: list[str], rows: list[list[str]]):
        self.columns = columns
        self.rows = rows

    def index(self, column: str) -> int:
        try:
            return self.columns.index(column)
        except ValueError:
            raise TableError(f"there is no column {column!r}; there are {', '.join(self.columns)}") from None


def load(path: str) -> Table:
    """Reads a CSV, JSON (list of objects) or JSON Lines file."""
    file = Path(path)
    try:
        if file.stat().st_size > FILE_BYTES:
            raise TableError(f"{path} is larger than {FILE_BYTES} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"cannot read {path}: {error}; only granted folders can be seen") from None
    match file.suffix.lower():
        case ".csv" | ".tsv":
            return _from_csv(text, "\t" if file.suffix.lower() == ".tsv" else None)
        case ".json":
            return _from_objects(_json(text, path))
        case ".jsonl" | ".ndjson":
            return _from_objects([_json(line, path) for line in text.splitlines() if line.strip()])
        case other:
            raise TableError(f"{path}: {other or 'no ending'} is none of .csv, .tsv, .json, .jsonl")


def _json(text: str, path: str):
    try:
        return json.loads(text)
    except ValueError as error:
        raise TableError(f"{path} is not JSON: {error}") from None


def _from_csv(text: str, delimiter: str | None) -> Table:
    if delimiter is None:
        head = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=head.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    if not rows:
        raise TableError("the file is empty")
    columns, rows = rows[0], rows[1:]
    width = len(columns)
    return Table(columns, [(row + [""] * width)[:width] for row in rows if any(row)])


def _from_objects(items) -> Table:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TableError("the JSON has to be a list of objects")
    columns = list(dict.fromkeys(key for item in items for key in item))
    return Table(columns, [[_text(item.get(column)) for column in columns] for item in items])


def _text(value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(text: str) -> float | None:
    """The number that a cell holds, if it holds one."""
    try:
        return float(text.strip())
    except ValueError:
        return None


def sort_key(text: str):
    """Numbers before texts, each in their own order."""
    value = number(text)
    return (0, value, "") if value is not None else (1, 0.0, text)


def matches(cell: str, how: str, value: str) -> bool:
    """Whether a cell meets a condition."""
    if how == "contains":
        return value.casefold() in cell.casefold()
    left, right = number(cell), number(value)
    pair = (left, right) if left is not None and right is not None else (cell, value)
    match how:
        case "equal":
            return pair[0] == pair[1]
        case "not-equal":
            return pair[0] != pair[1]
        case "less":
            return pair[0] < pair[1]
        case "greater":
            return pair[0] > pair[1]
    raise TableError(f"there is no comparison {how}")


def show(value: float) -> str:
    """A number without a needless fraction."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else f"{value:.6g}"


def aggregate(cells: list[str], how: str) -> str:
    """One value for a group of cells."""
    if how == "count":
        return str(len(cells))
    values = [value for value in map(number, cells) if value is not None]
    if not values:
        return ""
    match how:
        case "sum":
            return show(sum(values))
        case "mean":
            return show(sum(values) / len(values))
        case "least":
            return show(min(values))
        case "most":
            return show(max(values))
    raise TableError(f"there is no aggregate {how}")
