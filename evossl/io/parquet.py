"""Atomic writes of Parquet files, and the options to read them safely."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from evossl.io.files import write_atomically

SINGLE_THREADED = {"use_threads": False, "pre_buffer": False}
"""Options for `read_table`: pyarrow's threads can abort a process at exit (apache/arrow#34314)."""


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write `table` to `path`, atomically.

    Raises:
        RunError: the disk is full or the folder cannot be written; an old file is unchanged.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # pyarrow could take a path for a URL
            pyarrow.parquet.write_table(table, file)

    write_atomically(path, write)
