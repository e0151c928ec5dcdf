"""A Dagster logger that hands the run's events to whoever draws them, and writes nothing itself.

Dagster can be told of such a listener only by name, in the run's configuration.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg

Listener = Callable[[dg.DagsterEvent], None]


@dataclass
class _Current:
    listener: Listener | None = None


_current = _Current()


def listen(listener: Listener | None) -> None:
    """Have every event of the runs of this process handed to `listener`, until told otherwise."""
    _current.listener = listener


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        if event is not None and _current.listener is not None:
            _current.listener(event)


@dg.logger(None, description="Hands events to the terminal's progress view")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """A logger without output."""
    logger = logging.Logger("leakage.progress", level=logging.DEBUG)
    logger.addHandler(_Handler())
    return logger
