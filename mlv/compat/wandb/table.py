"""Tables whose cells may be media, as `wandb.Table` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlv import Exp
from mlv.compat.wandb.media import Media
from mlv.compat.wandb.values import is_array, is_data_frame, plain

_MODES = ("IMMUTABLE", "MUTABLE", "INCREMENTAL")


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
        for row in content:
            self.add_data(*row)

    def add_data(self, *data: Any) -> None:
        """Add a row.

        Raises:
            ValueError: It has not as many values as there are columns.
        """
        if len(data) != len(self.columns):
            raise ValueError(f"This table expects {len(self.columns)} columns: {self.columns}, found {len(data)}")
        self.data.append(list(data))

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
        self.columns = [*self.columns, name]
        self.data = (
            [[value] for value in values] if is_first else [[*row, value] for row, value in zip(self.data, values, strict=True)]
        )

    def add_computed_columns(self, fn: Any) -> None:
        """Add columns that a function of the number and the values of a row computes, as a dict."""
        computed = [fn(number, row) for number, row in self.iterrows_as_dicts()]
        for key in computed[0] if computed else ():
            self.add_column(key, [row[key] for row in computed])

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

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield the number and the values of each row."""
        yield from enumerate(self.data)

    def iterrows_as_dicts(self) -> Iterator[tuple[int, dict[Any, Any]]]:
        """Yield the number and the values of each row, by column."""
        for number, row in enumerate(self.data):
            yield number, dict(zip(self.columns, row, strict=True))

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `table`, and one for each cell that is media."""
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
