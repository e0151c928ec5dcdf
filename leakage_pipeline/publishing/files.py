"""Writes a file whole or not at all, so that a reader never meets half a report."""

import os
from pathlib import Path

REPORTS_FOLDER = "reports"


def reports_folder(home: Path, out_dir: Path | None = None) -> Path:
    """Return the folder that reports go to, created when missing: `out_dir`, else in the home."""
    folder = out_dir if out_dir is not None else home / REPORTS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_text(path: Path, text: str) -> Path:
    """Replace a file by this UTF-8 text in one step and return its path."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)
    return path
