"""What a killed audit leaves running is ended by the next one, and nothing else is."""

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from leakage_pipeline.warehouse.orphans import end_orphans, mark_children

# An audit that starts a child, says its id, and is then killed.
AUDIT = """
import subprocess, sys, time
from leakage_pipeline.warehouse.orphans import mark_children
mark_children()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def audit() -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    with subprocess.Popen([sys.executable, "-c", AUDIT], stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        child = psutil.Process(int(made.stdout.readline()))
        yield made, child
        made.kill()
        if child.is_running():
            child.kill()


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_the_child_of_a_living_audit_is_left_alone(
    audit: tuple[subprocess.Popen[str], psutil.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAKAGE_AUDIT_PROCESS", "")
    mark_children()
    time.sleep(0.2)
    assert end_orphans() == 0
    assert is_alive(audit[1])


def test_the_child_of_a_killed_audit_is_ended(
    audit: tuple[subprocess.Popen[str], psutil.Process],
) -> None:
    parent, child = audit
    parent.kill()
    parent.wait()
    assert is_alive(child)
    assert end_orphans() == 1
    assert not is_alive(child)
