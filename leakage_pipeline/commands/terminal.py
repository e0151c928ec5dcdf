"""What only the command line has: a clock and a terminal. Everything below is told what is now."""

import sys
from datetime import UTC, datetime

from rich.console import Console


def now() -> datetime:
    """The present instant, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def console() -> Console:
    """Standard output. A file or pipe has no width of its own; a table must not be cut there."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
