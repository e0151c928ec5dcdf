"""One log file per command in LEAKAGE_HOME/logs: the terminal gets the short story, it the long.

Whatever libraries print or warn while the command works goes there too.
"""

import contextlib
import io
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from leakage_pipeline.failures import ConfigurationError

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_KEPT = 50


class _Printed(io.TextIOBase):
    """Turns what is printed into log lines."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._logger.info(line.rstrip())
        return len(text)


@contextlib.contextmanager
def log_to_file(home: Path, command: str, now: datetime) -> Iterator[Path]:
    """Send logging, warnings and everything printed inside the block to a file of its own.

    Args:
        home: LEAKAGE_HOME.
        command: Name of the command, part of the file's name.
        now: Part of the file's name.

    Yields:
        The file.

    Raises:
        ConfigurationError: LEAKAGE_HOME cannot be written to.
    """
    folder = home / "logs"
    path = folder / f"{command}-{now:%Y%m%dT%H%M%S}.log"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        message = (
            f"LEAKAGE_HOME: {error.filename or folder}: {error.strerror}; "
            "set LEAKAGE_HOME to a folder that you may write to"
        )
        raise ConfigurationError(message) from error
    for old in sorted(folder.glob(f"{command}-*.log"))[:-_KEPT]:
        old.unlink(missing_ok=True)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    printed = _Printed(logging.getLogger("printed"))
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield path
    except BaseException:
        logging.getLogger("leakage").exception("the command failed")
        raise
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
