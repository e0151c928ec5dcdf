"""Opens DuckDB the one way this project uses it: in UTC, memory capped, spilling beside our state.

Every connection has a folder of its own under LEAKAGE_HOME that goes when it closes; what a killed
run left there is removed by the next one.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import psutil

MEMORY_LIMIT = "2GB"
_FOLDER = "duckdb"


@contextmanager
def open_duckdb(
    home: Path, *, memory_limit: str = MEMORY_LIMIT
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open an empty DuckDB database.

    Args:
        home: LEAKAGE_HOME.
        memory_limit: What DuckDB may keep in memory; the rest spills to disk.

    Yields:
        The connection, and its folder for other files of the same work.
    """
    parent = home / _FOLDER
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_orphans(parent)
    with TemporaryDirectory(prefix=f"{os.getpid()}-", dir=parent) as name:
        folder = Path(name)
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": str(folder / "spill"),
            # Nothing is fetched from DuckDB's extension server behind the user's back.
            "autoinstall_known_extensions": "false",
        }
        # Tables in memory spill like all else, and cost half of what a database file would.
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set enable_progress_bar = false")
            yield connection, folder
        finally:
            connection.close()


def _remove_orphans(parent: Path) -> None:
    for folder in parent.iterdir():
        process = re.match(r"(\d+)-", folder.name)
        if process and not psutil.pid_exists(int(process.group(1))):
            shutil.rmtree(folder, ignore_errors=True)
