"""Finds and opens input files, local or in an object store.

Object stores are reached through pyarrow's own clients, so that no DuckDB extension has to be
downloaded; credentials come from the environment as each cloud's tools read them.
"""

import glob
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import duckdb
import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]

from leakage_pipeline.failures import ConfigurationError, PermanentFailure

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
}
_ARROW_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Attributes:
        path: Absolute path or URI.
        format: parquet, csv or jsonl.
    """

    path: str
    format: str


def format_of(path: str) -> str | None:
    """Tell parquet, csv or jsonl from a file's name; None when it is none of them."""
    name = path.rsplit("/", 1)[-1].lower()
    for suffix, kind in sorted(_FORMATS.items(), key=lambda item: -len(item[0])):
        if name.endswith(suffix):
            return kind
    return None


def expand(
    connection: duckdb.DuckDBPyConnection, pattern: str, where: str, *, formats: tuple[str, ...]
) -> list[InputFile]:
    """Find the files that a path, glob or object-store URI stands for, in the order of their names.

    Hidden files and those that begin with an underscore (`_SUCCESS`) are passed over.

    Args:
        connection: The DuckDB connection that will read them; an object store is made known to it.
        pattern: Absolute path, glob, folder or URI.
        where: What to begin a message with.
        formats: The formats that this input may have.

    Raises:
        ConfigurationError: Nothing is there, or a file has none of the formats.
    """
    remote = "://" in pattern
    paths = _remote(connection, pattern, where) if remote else _local(pattern)
    visible = [path for path in paths if not path.rsplit("/", 1)[-1].startswith((".", "_"))]
    if not visible:
        message = f"{where}: no file matches {pattern}; correct the path or remove the key"
        raise ConfigurationError(message)
    files = []
    for path in visible:
        kind = format_of(path)
        if kind not in formats:
            known = ", ".join(suffix for suffix, kind in _FORMATS.items() if kind in formats)
            message = f"{where}: {path} has a name that ends in none of {known}"
            raise ConfigurationError(message)
        files.append(InputFile(path, kind))
    return files


def _local(pattern: str) -> list[str]:
    path = Path(pattern)
    if path.is_file():
        return [pattern]
    if path.is_dir():
        pattern = f"{glob.escape(pattern.rstrip('/'))}/**/*"
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute
    return sorted(name for name in found if Path(name).is_file())


def _remote(connection: duckdb.DuckDBPyConnection, uri: str, where: str) -> list[str]:
    scheme = urlsplit(uri).scheme
    system = _file_system(scheme, uri, where)
    connection.register_filesystem(system)
    try:
        found = system.glob(uri) if glob.has_magic(uri) else _children(system, uri)
    except (OSError, pa.ArrowException) as error:
        message = f"{where}: {uri} cannot be listed: {_one_line(error)}"
        raise PermanentFailure(message) from error
    return sorted(f"{scheme}://{path.split('://')[-1].lstrip('/')}" for path in found)


def _children(system: Any, uri: str) -> list[str]:
    if system.isfile(uri):
        return [uri]
    return [str(path) for path in system.find(uri)]


def _file_system(scheme: str, uri: str, where: str) -> Any:
    """An fsspec file system for a URI's scheme: pyarrow's own client where it has one."""
    try:
        if scheme in _ARROW_SCHEMES:
            system, _ = pa.fs.FileSystem.from_uri(uri.split("*", 1)[0])
            wrapper = ArrowFSWrapper(system)
            wrapper.protocol = scheme
            return wrapper
        return fsspec.filesystem(scheme)
    except (ValueError, ImportError, OSError, pa.ArrowException) as error:
        message = f"{where}: {scheme}:// cannot be read here: {_one_line(error)}"
        raise ConfigurationError(message) from error


def duckdb_path(path: str) -> str:
    """A path as DuckDB wants it: DuckDB would take brackets in a file's name for a glob."""
    return path if "://" in path else glob.escape(path)


def shown(path: str, base: Path) -> str:
    """A path as people write it: relative to the configuration's folder where it lies below it."""
    if "://" in path or not Path(path).is_relative_to(base):
        return path
    return str(Path(path).relative_to(base))


def is_empty(path: str) -> bool:
    """Whether a local file has no bytes at all, which is a valid log without events."""
    return "://" not in path and Path(path).stat().st_size == 0


@contextmanager
def open_text(path: str, errors: str = "strict") -> Iterator[IO[str]]:
    """Open a file or object as UTF-8 text, unpacked when its name ends in .gz."""
    with fsspec.open(path, "rb") if "://" in path else Path(path).open("rb") as raw:
        binary = gzip.GzipFile(fileobj=raw) if path.lower().endswith(".gz") else raw
        with io.TextIOWrapper(binary, encoding="utf-8-sig", errors=errors, newline="") as text:
            yield text


@contextmanager
def readable(path: str, where: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read into one message.

    Raises:
        ConfigurationError: The file cannot be opened, is damaged or is not what its name says.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        message = f"{where}: {path} is no UTF-8 text; save it in UTF-8"
        raise ConfigurationError(message) from error
    except (OSError, EOFError, zlib.error, duckdb.Error) as error:
        message = f"{where}: {path} cannot be read: {_one_line(error)}"
        raise ConfigurationError(message) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text.split("Possible fixes", 1)[0].strip() or type(error).__name__
