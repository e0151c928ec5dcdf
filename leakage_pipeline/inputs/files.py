"""Finds and opens input files, local or in an object store.

Object stores are reached through pyarrow's own clients, so that no DuckDB extension has to be
downloaded; credentials come from the environment as each cloud's tools read them.
"""

import glob
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import duckdb
import fsspec  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs
from duckdb import ColumnExpression, SQLExpression
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
# What the clients of object stores call a version or a time of change.
_VERSIONS = (
    *("etag", "ETag", "e_tag", "VersionId", "generation", "md5Hash", "crc32c"),
    *("mtime", "LastModified", "last_modified", "updated", "modified", "created"),
)
_ARROW_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss"})


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Attributes:
        path: Absolute path or URI.
        format: parquet, csv or jsonl.
        stamp: Changes when the file does; empty where the store tells neither time nor version.
    """

    path: str
    format: str
    stamp: str = ""


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
    found = _remote(connection, pattern, where) if remote else _local(pattern)
    visible = [path for path in found if not path.rsplit("/", 1)[-1].startswith((".", "_"))]
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
        files.append(InputFile(path, kind, found[path]))
    return files


def _local(pattern: str) -> dict[str, str]:
    """The files, in the order of their names, with their stamps."""
    path = Path(pattern)
    if path.is_file():
        return {pattern: _stamp_of_local(path)}
    if path.is_dir():
        pattern = f"{glob.escape(pattern.rstrip('/'))}/**/*"
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute
    return {name: _stamp_of_local(Path(name)) for name in sorted(found) if Path(name).is_file()}


def _stamp_of_local(path: Path) -> str:
    facts = path.stat()
    # The change time too: a copy may bring an old modification time along.
    return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}"


def _remote(connection: duckdb.DuckDBPyConnection, uri: str, where: str) -> dict[str, str]:
    scheme = urlsplit(uri).scheme
    system = _file_system(scheme, uri, where)
    connection.register_filesystem(system)
    try:
        if glob.has_magic(uri):
            facts = system.glob(uri, detail=True)
        elif system.isfile(uri):
            facts = {uri: system.info(uri)}
        else:
            facts = system.find(uri, detail=True)
    except (OSError, pa.ArrowException) as error:
        message = f"{where}: {uri} cannot be listed: {_one_line(error)}"
        raise PermanentFailure(message) from error
    found = {
        f"{scheme}://{path.split('://')[-1].lstrip('/')}": _stamp_of_remote(info)
        for path, info in facts.items()
        if info.get("type") != "directory"
    }
    return dict(sorted(found.items()))


def _stamp_of_remote(info: Mapping[str, Any]) -> str:
    versions = [f"{name}={info[name]}" for name in _VERSIONS if info.get(name) is not None]
    return f"{info.get('size')}:{','.join(versions)}" if versions else ""


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


def as_listed(path: str) -> str:
    """A URI as `expand` gives it, of one that DuckDB tells with more slashes."""
    scheme, mark, rest = path.partition("://")
    return f"{scheme}{mark}{rest.lstrip('/')}" if mark else path


def named_as_listed(scan: duckdb.DuckDBPyRelation, paths: Iterable[str]) -> duckdb.DuckDBPyRelation:
    """A scan whose column filename holds the paths as `expand` gives them."""
    if not any("://" in path for path in paths):
        return scan
    listed = SQLExpression(r"regexp_replace(filename, '^([a-z0-9]+:)/+', '\1//')")
    return scan.select(
        *(
            listed.alias("filename") if name == "filename" else ColumnExpression(name)
            for name in scan.columns
        )
    )


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
