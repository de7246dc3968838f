"""Tables whose cells may be media or rows of other tables, as `wandb.Table` takes them, and joins of tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlv import Exp
from mlv.compat.wandb.media import Media
from mlv.compat.wandb.values import is_array, is_data_frame, plain

_MODES = ("IMMUTABLE", "MUTABLE", "INCREMENTAL")


class TableKey(str):
    """A text that names a row of a table, by the value of a column."""

    table: Table
    column: Any

    @classmethod
    def of(cls, value: Any, table: Table, column: Any) -> TableKey:
        """Return a value as the key of a row."""
        key = cls(value)
        key.table, key.column = table, column
        return key


class TableIndex(int):
    """The number of a row of a table."""

    table: Table

    @classmethod
    def of(cls, number: Any, table: Table) -> TableIndex:
        """Return a number as that of a row."""
        index = cls(number)
        index.table = table
        return index

    def get_row(self) -> dict[Any, Any]:
        """Return the values of the row, by column."""
        return dict(zip(self.table.columns, self.table.data[self], strict=True))


@dataclass(frozen=True)
class Link:
    """What the values of a column lead to."""

    table: Table
    column: Any = None
    """The column of the other table that holds them; None where they are numbers of its rows."""


class Table(Media):
    """Rows under columns. Each time it is logged, all of it is.

    A cell that is media leaves an event of its own, `<name of the table>/<column>/<row>`, and holds that name in the table.
    """

    MAX_ROWS, MAX_ARTIFACT_ROWS = 10_000, 200_000
    """Limits that scripts look at; here there are none."""

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: Any = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        """Take rows, an array or a data frame.

        Args:
            columns: Their names.
            data: Rows, an array with an axis of rows, or a data frame of pandas.
            rows: The former name of `data`.
            dataframe: A data frame, which names its columns itself.
            dtype: Does nothing here: values are kept as they are.
            optional: Does nothing here.
            allow_mixed_types: Does nothing here: they always may be mixed.
            log_mode: Does nothing here.

        Raises:
            AssertionError: The columns or rows are no list, or `log_mode` is unknown.
            ValueError: A row has not as many values as there are columns.
        """
        assert log_mode in _MODES, f"Invalid log_mode: {log_mode}. Must be one of {list(_MODES)}"
        self.log_mode = log_mode
        content: Any = next((value for value in (dataframe, data, rows) if value is not None), [])
        if is_data_frame(content):
            columns = list(content.columns)
            content = [list(row) for row in content.itertuples(index=False, name=None)]
        elif is_array(content):
            content = [list(row) for row in content]
        columns = ["Input", "Output", "Expected"] if columns is None else columns
        assert isinstance(columns, list), "columns argument expects a `list` object"
        assert all(type(column) in (str, int) for column in columns), "columns argument expects list of strings or ints"
        assert isinstance(content, list), "data argument expects a `list` object"
        self.columns: list[Any] = columns
        self.data: list[list[Any]] = []
        self.primary_key: Any = None
        """The column whose values name the rows."""
        self.links: dict[Any, Link] = {}
        """Columns whose values lead to rows of other tables."""
        self.name_in_artifact: str | None = None
        """The file that it was read from."""
        self.logged_as: str | None = None
        """The name that it was logged under last."""
        for row in content:
            self.add_data(*row)

    def add_data(self, *data: Any) -> None:
        """Add a row.

        Raises:
            ValueError: It has not as many values as there are columns.
        """
        if len(data) != len(self.columns):
            raise ValueError(f"This table expects {len(self.columns)} columns: {self.columns}, found {len(data)}")
        for column, value in zip(self.columns, data, strict=True):
            self._follow(column, value)
        self.data.append([self._linked(column, value) for column, value in zip(self.columns, data, strict=True)])

    def add_row(self, *row: Any) -> None:
        """Add a row; the former name of `add_data`."""
        self.add_data(*row)

    def add_column(self, name: Any, data: Any, optional: bool = False) -> None:
        """Add a column.

        Raises:
            AssertionError: It is there, or has not as many values as there are rows.
        """
        values = list(data)
        is_first = not self.columns
        assert name not in self.columns, f"column {name!r} is there already"
        assert is_first or len(values) == len(self.data), f"Expected length {len(self.data)}, found {len(values)}"
        for value in values:
            self._follow(name, value)
        values = [self._linked(name, value) for value in values]
        self.columns = [*self.columns, name]
        self.data = (
            [[value] for value in values] if is_first else [[*row, value] for row, value in zip(self.data, values, strict=True)]
        )

    def add_computed_columns(self, fn: Any) -> None:
        """Add columns that a function of the number and the values of a row computes, as a dict.

        Raises:
            AssertionError: It returns no dict, or a column for some of the rows only.
        """
        computed: dict[Any, list[Any]] = {}
        for number, row in self.iterrows_as_dicts():
            new = fn(number, row)
            assert isinstance(new, dict), f"the function returned {type(new).__name__} for row {number}: return a dict"
            for key, value in new.items():
                computed.setdefault(key, []).append(value)
        for key, values in computed.items():
            self.add_column(key, values)

    def set_pk(self, col_name: Any) -> None:
        """Have the values of a column, which are texts, name the rows.

        Raises:
            AssertionError: There is no such column, or another one names the rows.
            TypeError: A value is no text.
        """
        self._check_keys(col_name)
        assert self.primary_key is None, f"Cannot have multiple primary keys - {self.primary_key} is already set"
        self.primary_key = col_name
        self._link_cells(col_name)

    def set_fk(self, col_name: Any, table: Table, table_col: Any) -> None:
        """Have the values of a column, which are texts, lead to the rows of another table that have them.

        Raises:
            AssertionError: There is no such column here or there, it is the primary key, or the table is this one.
            TypeError: A value is no text.
        """
        assert isinstance(table, Table), f"table={table!r}: give a wandb.Table"
        assert table_col in table.columns, f"there is no column {table_col!r} in {table.columns}"
        assert col_name != self.primary_key, f"{col_name!r} is the primary key, and leads nowhere else"
        assert table is not self, "Cannot set a foreign table reference to same table."
        self._check_keys(col_name)
        self.link(col_name, table, table_col)

    def get_index(self) -> list[TableIndex]:
        """Return the numbers of all rows: a column of them in another table leads to this one."""
        return [TableIndex.of(number, self) for number in range(len(self.data))]

    def index_ref(self, index: int) -> TableIndex:
        """Return the number of a row, which leads to it in another table.

        Raises:
            AssertionError: There is no such row.
        """
        assert index < len(self.data), f"there is no row {index} among {len(self.data)}"
        return TableIndex.of(index, self)

    def link(self, column: Any, table: Table, table_col: Any) -> None:
        """Have the values of a column lead to the rows of another table, by a column or their numbers. Not called by users."""
        self.links[column] = Link(table, table_col)
        self._link_cells(column)

    def _check_keys(self, column: Any) -> None:
        assert column in self.columns, f"there is no column {column!r} in {self.columns}"
        wrong = next((value for value in self.get_column(column) if not isinstance(value, str)), None)
        if wrong is not None:
            raise TypeError(f"Existing data {wrong!r} in column {column!r} is no text, and cannot be the key of a row")

    def _follow(self, column: Any, value: Any) -> None:
        """Have a column lead where a value that belongs to another table does.

        Raises:
            TypeError: The column leads elsewhere.
        """
        if not isinstance(value, (TableKey, TableIndex)) or value.table is self:
            return
        link = Link(value.table, value.column if isinstance(value, TableKey) else None)
        first = self.links.get(column)
        if first is None:
            self.links[column] = link
            self._link_cells(column)
        elif first.table is not link.table or first.column != link.column:
            raise TypeError(f"column {column!r} leads to another table than {value!r}: give each table a column of its own")

    def _linked(self, column: Any, value: Any) -> Any:
        """Return a value as one that leads where its column does."""
        if column == self.primary_key:
            return TableKey.of(value, self, column)
        link = self.links.get(column)
        if link is None or isinstance(value, (TableKey, TableIndex)):
            return value
        return TableIndex.of(value, link.table) if link.column is None else TableKey.of(value, link.table, link.column)

    def _link_cells(self, column: Any) -> None:
        if column in self.columns:
            number = self.columns.index(column)
            for row in self.data:
                row[number] = self._linked(column, row[number])

    def get_column(self, name: Any, convert_to: str | None = None) -> Any:
        """Return the values of a column, with `convert_to="numpy"` as an array.

        Raises:
            AssertionError: There is no such column, or another conversion is asked for.
        """
        assert name in self.columns, f"there is no column {name!r} in {self.columns}"
        assert convert_to in (None, "numpy"), f"convert_to={convert_to!r}: give 'numpy'"
        values = [row[self.columns.index(name)] for row in self.data]
        if convert_to is None:
            return values
        import numpy

        return numpy.array(values)

    def get_dataframe(self) -> Any:
        """Return a data frame of pandas."""
        import pandas

        return pandas.DataFrame(self.data, columns=self.columns)

    def iterrows(self) -> Iterator[tuple[TableIndex, list[Any]]]:
        """Yield the number, which leads to the row in another table, and the values of each row."""
        for index in self.get_index():
            yield index, self.data[index]

    def iterrows_as_dicts(self) -> Iterator[tuple[TableIndex, dict[Any, Any]]]:
        """Yield the number and the values of each row, by column."""
        for index in self.get_index():
            yield index, index.get_row()

    def __eq__(self, other: object) -> bool:
        """Return whether another table has equal columns and rows, which lead to the same."""
        return isinstance(other, Table) and self._content() == other._content()

    __hash__ = Media.__hash__

    def _content(self) -> Any:
        links = {column: (link.column, link.table.columns) for column, link in self.links.items()}
        return self.columns, self.primary_key, links, [[plain(cell) for cell in row] for row in self.data]

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `table`, and one for each cell that is media; links to other tables are an event `wandb/table`."""
        self.logged_as = name
        names = [str(column) for column in self.columns]
        rows = []
        for number, row in enumerate(self.data):
            cells = []
            for column, cell in zip(names, row, strict=True):
                if isinstance(cell, Media):
                    label = f"{name}/{column}/{number}"
                    cell.store(exp, label, step)
                    cells.append(label)
                else:
                    cells.append(plain(cell))
            rows.append(cells)
        exp.log.table(name, rows, step=step, columns=names)
        links = {}
        for column, link in self.links.items():
            if link.table.logged_as is None:
                link.table.store(exp, f"{name}/{column}", step)
            of_column = {} if link.column is None else {"column": link.column}
            links[str(column)] = {"table": link.table.logged_as, **of_column}
        if links:
            exp.log("wandb/table", {"table": name, "links": links}, step=step)


class PartitionedTable(Media):
    """The tables of a folder of an artifact, one behind the other."""

    def __init__(self, parts_path: str) -> None:
        """Take the path of the folder."""
        self.parts_path = parts_path
        self.parts: list[Callable[[], Table]] = []
        """Read the tables; those of one that was got from an artifact."""

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the number and the values of each row.

        Raises:
            ValueError: The tables have other columns.
        """
        number, columns = 0, None
        for part in self.parts:
            table = part()
            columns = table.columns if columns is None else columns
            if columns != table.columns:
                raise ValueError(f"Table parts have non-matching columns. {columns} != {table.columns}")
            for row in table.data:
                yield number, row
                number += 1

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log an event that names the folder."""
        exp.log(name, {"_type": "partitioned-table", "parts_path": self.parts_path}, step=step)

    def __eq__(self, other: object) -> bool:
        """Return whether another one names the same folder."""
        return isinstance(other, PartitionedTable) and self.parts_path == other.parts_path

    __hash__ = Media.__hash__


class JoinedTable(Media):
    """Two tables and the column, or the two columns, by whose values their rows belong together."""

    def __init__(self, table1: Any, table2: Any, join_key: str | list[str]) -> None:
        """Name the tables.

        Args:
            table1: A table, its path in the artifact that this is added to, or its entry in another artifact.
            table2: The same.
            join_key: A column that both have, or one of each.

        Raises:
            ValueError: A table is none of these, or the key is no name and no two names.
        """
        if not isinstance(join_key, str) and (not isinstance(join_key, list) or len(join_key) != 2):
            raise ValueError("JoinedTable join_key should be a string or a list of two strings")
        for label, table in (("table1", table1), ("table2", table2)):
            if not _may_be_joined(table):
                raise ValueError(f"JoinedTable {label} should be an artifact path to a table or wandb.Table object")
        self.tables = (table1, table2)
        self.join_key = join_key

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log both tables, as `<name>/table1` and `<name>/table2`, and an event of the name with the columns that join them."""
        names = []
        for number, table in enumerate(self.tables, 1):
            if isinstance(table, Media):
                names.append(f"{name}/table{number}")
                table.store(exp, names[-1], step)
            else:
                names.append(table if isinstance(table, str) else table.path)
        exp.log(name, {"_type": "joined-table", "table1": names[0], "table2": names[1], "join_key": self.join_key}, step=step)

    def __eq__(self, other: object) -> bool:
        """Return whether another one joins equal tables by the same columns."""
        return isinstance(other, JoinedTable) and (self.tables, self.join_key) == (other.tables, other.join_key)

    __hash__ = Media.__hash__


def _may_be_joined(table: Any) -> bool:
    path = table if isinstance(table, str) else table.path if hasattr(table, "ref_url") else ""
    return isinstance(table, (Table, PartitionedTable)) or path.endswith(".table.json")
