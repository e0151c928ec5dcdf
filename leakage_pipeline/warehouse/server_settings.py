"""The embedded server's postgresql.conf: one private socket, UTC, modest memory, durable writes."""

import shutil
from pathlib import Path

_SMALL_SHARED_MEMORY = 1 << 30


def server_settings(conf: Path, socket_dir: Path, port: int) -> str:
    """The text of postgresql.conf.

    Args:
        conf: Folder of pg_hba.conf and pg_ident.conf.
        socket_dir: Folder of the only socket it listens on.
        port: Part of the socket's name.
    """
    settings = {
        "hba_file": conf / "pg_hba.conf",
        "ident_file": conf / "pg_ident.conf",
        "listen_addresses": "",
        "port": port,
        "unix_socket_directories": f'"{socket_dir}"',
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_connections": 100,
        "shared_buffers": "256MB",
        "work_mem": "32MB",
        "maintenance_work_mem": "128MB",
        # One server without replicas: bulk loads need not log what only a replica would read.
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_wal_size": "2GB",
        "random_page_cost": 1.1,
        "jit": "off",
        "dynamic_shared_memory_type": _shared_memory(),
    }
    return "".join(f"{key} = {_quoted(str(value))}\n" for key, value in settings.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _shared_memory() -> str:
    """Containers often have 64 MB of /dev/shm, which a parallel query may not fit into."""
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - only its size is read
    except OSError:
        return "posix"
    return "posix" if free >= _SMALL_SHARED_MEMORY else "mmap"
