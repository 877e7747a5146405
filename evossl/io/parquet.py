"""Parquet files, whole or not there."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from evossl.io.files import write_atomically

IN_THIS_THREAD = {"use_threads": False, "pre_buffer": False}
"""For `read_table`: pyarrow's pool now and then aborts a process that ends (apache/arrow#34314)."""


def write_parquet(path: Path, table: pa.Table) -> None:
    """Put `table` in place of what is at `path`, in one step: a reader sees the old or the new.

    Raises:
        RunError: the disk is full or the folder cannot be written; what was there before is whole.
    """

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # a path of pyarrow's may be taken for a URL
            pyarrow.parquet.write_table(table, file)

    write_atomically(path, write)
