"""Decides under which user the embedded Postgres runs, and what that user may reach.

An ordinary user runs it as themselves. Root may not: a system user of its own is made once, and no
mode of any existing file or folder is changed for it.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.warehouse.launcher import CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SETPCAP

SERVICE_USER = "leakage-db"


@dataclass(frozen=True)
class Identity:
    """The user that owns the cluster. `switch` is true when this process must become that user."""

    uid: int
    gid: int
    switch: bool

    def give(self, path: Path) -> None:
        """Make the cluster's user the owner of a path that we have just made."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def identify(data: Path) -> Identity:
    """Who runs, or is to run, the cluster in `data`.

    Raises:
        ConfigurationError: Another user owns it, or no system user can be made.
    """
    me = os.geteuid()
    if data.exists():
        status = data.stat()
        if me == 0 and status.st_uid != 0:
            return Identity(status.st_uid, status.st_gid, switch=True)
        if me not in {0, status.st_uid}:
            message = (
                f"LEAKAGE_HOME: {data} belongs to {_name(status.st_uid)}; run as that user, "
                "or set LEAKAGE_HOME to a folder of your own"
            )
            raise ConfigurationError(message)
    if me != 0:
        return Identity(me, os.getegid(), switch=False)
    entry = _service_user()
    return Identity(entry.pw_uid, entry.pw_gid, switch=True)


def login_names(identity: Identity) -> tuple[str, ...]:
    """The operating-system users that may connect: the cluster's own, the one who runs us, root."""
    return tuple(sorted({_name(identity.uid), _name(os.geteuid()), _name(0)}))


def capability_for(identity: Identity, folders: tuple[Path, ...], program: Path) -> int | None:
    """The capability that the server needs to reach its files, or None when it needs none.

    Args:
        identity: The cluster's user.
        folders: Folders it must be able to enter; their parents count too.
        program: A program it must be able to execute.

    Raises:
        ConfigurationError: It cannot reach them, and this system lends no capability for it.
    """
    if not identity.switch:
        return None
    entered = {
        parent for folder in (*folders, program.parent) for parent in (folder, *folder.parents)
    }
    closed = [folder for folder in sorted(entered) if not _may_enter(folder, identity)]
    executable = _may_enter(program, identity)
    if not closed and executable:
        return None
    wanted = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if executable else (CAP_DAC_OVERRIDE,)
    for capability in wanted:
        if _has_capability(capability) and _has_capability(CAP_SETPCAP):
            return capability
    message = (
        f"LEAKAGE_HOME: root started the embedded Postgres, but its user {_name(identity.uid)} "
        f"cannot enter {closed[0] if closed else program}; run as an ordinary user, set "
        "LEAKAGE_HOME to a folder such as /var/lib/leakage, or set LEAKAGE_DATABASE_URL"
    )
    raise ConfigurationError(message)


def _may_enter(path: Path, identity: Identity) -> bool:
    status = path.stat()
    if status.st_uid == identity.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == identity.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _has_capability(capability: int) -> bool:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    sets = dict(line.split(":", 1) for line in lines if line.startswith("Cap"))
    return all(int(sets.get(name, "0"), 16) >> capability & 1 for name in ("CapPrm", "CapBnd"))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _service_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        pass
    home = ["--home-dir", "/nonexistent", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    commands = (["useradd", "--system", "--user-group", *home], ["adduser", "-S", "-D", "-H"])
    for command in commands:
        program = shutil.which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin")
        if program is None:
            continue
        subprocess.run([program, *command[1:], SERVICE_USER], check=False, capture_output=True)
        try:
            return pwd.getpwnam(SERVICE_USER)
        except KeyError:
            continue
    message = (
        f"LEAKAGE_HOME: Postgres must not run as root, and the system user {SERVICE_USER} "
        "cannot be made; run as an ordinary user, or set LEAKAGE_DATABASE_URL"
    )
    raise ConfigurationError(message)
