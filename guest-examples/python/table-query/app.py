"""A tool that answers questions about tables in files."""

import tables
import wit_world
from componentize_py_types import Err
from tables import Table, TableError

ROWS = 500


class WitWorld(wit_world.WitWorld):
    def describe(self, path: str) -> wit_world.Table:
        table = load(path)
        columns = []
        for at, name in enumerate(table.columns):
            cells = [row[at] for row in table.rows if row[at] != ""]
            numeric = bool(cells) and all(tables.number(cell) is not None for cell in cells)
            cells.sort(key=tables.sort_key)
            columns.append(
                wit_world.Column(
                    name=name,
                    kind="number" if numeric else "text",
                    filled=len(cells),
                    least=cells[0] if cells else None,
                    most=cells[-1] if cells else None,
                )
            )
        return wit_world.Table(rows=len(table.rows), columns=columns)

    def find_rows(self, path, columns, where, sort, limit) -> wit_world.Answer:
        with told():
            table = tables.load(path)
            rows = filtered(table, where)
            if sort:
                at = table.index(sort.removeprefix("-"))
                rows.sort(key=lambda row: tables.sort_key(row[at]), reverse=sort.startswith("-"))
            names = columns or table.columns
            picked = [table.index(name) for name in names]
            most = min(ROWS, 50 if limit is None else limit)
            shown = [[row[at] for at in picked] for row in rows[:most]]
            return wit_world.Answer(rows=[list(names), *shown], truncated=len(rows) > most)

    def column_numbers(self, path, column) -> wit_world.Numbers:
        with told():
            table = tables.load(path)
            at = table.index(column)
            values = [value for row in table.rows if (value := tables.number(row[at])) is not None]
            return wit_world.Numbers(values=values, skipped=len(table.rows) - len(values))

    def summarize(self, path, by, compute, of, where) -> wit_world.Answer:
        with told():
            how = word(compute)
            if of is None and how != "count":
                raise TableError(f"to compute {how}, `of` has to name a column")
            table = tables.load(path)
            key = table.index(by)
            value = table.index(of) if of is not None else key
            groups: dict[str, list[str]] = {}
            for row in filtered(table, where):
                groups.setdefault(row[key], []).append(row[value])
            rows = [[name, tables.aggregate(cells, how)] for name, cells in groups.items()]
            rows.sort(key=lambda row: -(tables.number(row[1]) or 0.0))
            title = how if of is None else f"{how} of {of}"
            return wit_world.Answer(rows=[[by, title], *rows[:ROWS]], truncated=len(rows) > ROWS)


class told:
    """Hands what is wrong on as the function's error."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, TableError):
            raise Err(str(error)) from None
        return False


def load(path: str) -> Table:
    with told():
        return tables.load(path)


def word(case) -> str:
    """The WIT name of an enum's case."""
    return case.name.lower().replace("_", "-")


def filtered(table: Table, conditions) -> list[list[str]]:
    checks = [(table.index(c.column), word(c.is_), c.value) for c in conditions]
    return [row for row in table.rows if all(tables.matches(row[at], how, value) for at, how, value in checks)]
