"""Draws a run on the terminal: one line per table as it is written, and what is at work right now.

Plain lines when the output is no terminal, so that a log of it stays readable.
"""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from leakage_pipeline.commands.execution import Note


class ProgressView:
    """Listens to a run and prints. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        self.failed_checks: list[str] = []
        self.tables = 0
        self._console = console
        self._status: Status | None = None
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._status is not None:
            self._status.stop()

    def tell(self, note: Note) -> None:
        """Show one note."""
        if note.kind == "step":
            self._since = time.monotonic()
            if self._status is not None:
                self._status.update(f"{note.name} ...")
        elif note.kind == "table":
            self.tables += 1
            seconds = time.monotonic() - self._since
            self._since = time.monotonic()
            rows = f"{note.rows:,} rows" if note.rows is not None else ""
            name = note.name.replace("/", ".")
            self._console.print(f"  {name:<58} {rows:>16} {seconds:>7.1f} s", highlight=False)
        elif note.kind == "check" and not note.passed:
            self.failed_checks.append(note.name)
            self._console.print(f"  check failed: {note.name} {note.text}".rstrip(), style="yellow")
        elif note.kind == "retry":
            self._console.print(f"  {note.name} is tried again: {note.text}", style="yellow")
