"""Ends what a killed audit left running: its dbt would go on and write into the next audit.

Every audit marks its children through their environment with its own process; a child whose audit
is gone is an orphan.
"""

import contextlib
import os

import psutil

_MARK = "LEAKAGE_AUDIT_PROCESS"
_PATIENCE_SECONDS = 10


def mark_children() -> None:
    """Have every process that this one starts from now on carry its mark."""
    os.environ[_MARK] = _identity(psutil.Process())


def end_orphans() -> int:
    """End the children of audits that are gone, of this user on this machine.

    Call it while holding the audit lock.

    Returns:
        How many were ended.
    """
    orphans = [process for process in psutil.process_iter() if _is_orphan(process)]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(orphans, timeout=_PATIENCE_SECONDS)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_PATIENCE_SECONDS)
    return len(orphans)


def _identity(process: psutil.Process) -> str:
    # A process id is used again; together with its start it is not.
    return f"{process.pid}@{process.create_time():.2f}"


def _is_orphan(process: psutil.Process) -> bool:
    try:
        mark = process.environ().get(_MARK)
        if not mark or mark == _identity(process):
            return False
        audit = psutil.Process(int(mark.partition("@")[0]))
        return _identity(audit) != mark or audit.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess as error:
        return error.pid != process.pid  # the audit is gone, not the child
    except (psutil.AccessDenied, OSError, ValueError):
        return False
