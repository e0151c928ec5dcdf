"""Runs a job in this process for a terminal, on the same instance that the UI shows.

Translates Dagster's events into plain notes, so that whoever draws them needs no Dagster.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import dagster as dg
from dagster import DagsterExecutionInterruptedError

from leakage_pipeline.definitions import defs
from leakage_pipeline.defs.automation.jobs import nightly_audit
from leakage_pipeline.defs.automation.progress import listen
from leakage_pipeline.defs.publishing.failed_checks import failed_checks_of_latest_audit
from leakage_pipeline.defs.storage import hold_connections
from leakage_pipeline.failures import (
    ConfigurationError,
    PermanentFailure,
    TransientFailure,
)

INSTANCE_FILE = Path(__file__).resolve().parents[2] / "dagster.yaml"
# A terminal shows the progress itself; captured output would be mirrored right through it.
_NO_CAPTURE = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
_LONGEST_REASON = 400
_OURS = (ConfigurationError, PermanentFailure, TransientFailure)


@dataclass(frozen=True)
class Note:
    """Something that happened in a run.

    Attributes:
        kind: A step started, a table was written, a check gave its result, a step is tried again.
        name: The step, table or check.
        rows: Rows of a table, when known.
        passed: A check's result.
        text: A check's or a retry's own words.
    """

    kind: Literal["step", "table", "check", "retry"]
    name: str
    rows: int | None = None
    passed: bool = True
    text: str = ""


def prepare_instance(home: Path) -> Path:
    """Put the root dagster.yaml into LEAKAGE_HOME/dagster, the DAGSTER_HOME of our commands."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(INSTANCE_FILE, folder / "dagster.yaml")
    text = INSTANCE_FILE.read_text(encoding="utf-8") + _NO_CAPTURE
    (folder / "terminal.yaml").write_text(text, encoding="utf-8")
    return folder


def run_nightly_audit(
    home: Path, as_of: datetime, *, full_refresh: bool, tell: Callable[[Note], None]
) -> str:
    """Run the nightly audit here and now.

    Args:
        home: LEAKAGE_HOME.
        as_of: What is now for the run.
        full_refresh: Compute everything anew.
        tell: Is told what happens, as it happens.

    Returns:
        Dagster's id of the run.

    Raises:
        ConfigurationError, PermanentFailure, TransientFailure: Why the run failed.
    """
    config = {
        "resources": {
            "audit_run": {"config": {"as_of": as_of.isoformat(), "full_refresh": full_refresh}}
        },
        "loggers": {"progress": {}},
    }
    job = defs().resolve_job_def(nightly_audit.name)
    folder = prepare_instance(home)
    with (
        dg.DagsterInstance.from_config(str(folder), "terminal.yaml") as instance,
        _listening(tell),
    ):
        hold_connections(instance)
        try:
            result = job.execute_in_process(run_config=config, instance=instance)
        except DagsterExecutionInterruptedError:
            raise KeyboardInterrupt from None  # a signal, Ctrl-C or a service manager's
        except Exception as error:
            raise root_failure(error) from error
    return result.run_id


def failed_checks(home: Path) -> list[str]:
    """The asset checks that failed in the newest nightly audit, one sentence each."""
    folder = prepare_instance(home)
    with dg.DagsterInstance.from_config(str(folder), "terminal.yaml") as instance:
        return failed_checks_of_latest_audit(instance)


def root_failure(error: BaseException) -> Exception:
    """The failure of ours that an error was caused by, else one that names its innermost cause."""
    link: BaseException | None = error
    innermost = error
    seen: set[int] = set()  # libraries that re-raise what they caught make rings of contexts
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, _OURS):
            return link
        innermost = link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    if isinstance(error, dg.Failure) and error.description:
        return PermanentFailure(error.description)
    return PermanentFailure(_one_line(innermost))


def _one_line(error: BaseException) -> str:
    """An error that is not ours in one line; of all that dbt prints, the first failure."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    failures = [index for index, line in enumerate(lines) if line.startswith("Failure in ")]
    if failures:
        first = failures[0]
        what = " ".join(lines[first : first + 3])
        others = f" (and {len(failures) - 1} more, see the log)" if len(failures) > 1 else ""
        return f"dbt: {what}{others}"
    return f"{type(error).__name__}: {' '.join(lines)[:_LONGEST_REASON]}".strip()


@contextmanager
def _listening(tell: Callable[[Note], None]) -> Iterator[None]:
    def hear(event: dg.DagsterEvent) -> None:
        note = _note(event)
        if note is not None:
            tell(note)

    listen(hear)
    try:
        yield
    finally:
        listen(None)


def _note(event: dg.DagsterEvent) -> Note | None:
    kind = event.event_type_value
    if kind == "STEP_START":
        return Note("step", event.step_key or "")
    if kind == "ASSET_MATERIALIZATION" and event.asset_key is not None:
        materialization = event.step_materialization_data.materialization
        if materialization.partition is not None:
            return None  # a day of a table that is told as a whole
        metadata = materialization.metadata
        rows = metadata.get("dagster/row_count") or metadata.get("dagster/partition_row_count")
        count = rows.value if rows is not None else None
        return Note(
            "table",
            event.asset_key.to_user_string(),
            rows=count if isinstance(count, int) else None,
        )
    if kind == "ASSET_CHECK_EVALUATION":
        check = event.asset_check_evaluation_data
        name = f"{check.check_name} on {check.asset_key.to_user_string()}"
        return Note("check", name, passed=check.passed, text=check.description or "")
    if kind == "STEP_UP_FOR_RETRY":
        error = event.step_retry_data.error
        return Note("retry", event.step_key or "", text=error.message.strip() if error else "")
    return None
