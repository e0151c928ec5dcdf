"""Starts one program as another user, detached or not; a script of the standard library only.

Postgres refuses to run as root, so root starts it here under the server's own user. When that user
could not reach the files (a home folder is 0700), the child gets the one capability that lets it
through, instead of opening those folders to everybody.
"""

import ctypes
import json
import os
import sys

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_SETPCAP = 8
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CANNOT_EXECUTE = 126


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(uid: int, gid: int, capability: int | None) -> None:
    """Give up root for `uid` and `gid`, keeping at most one capability across exec.

    Raises:
        OSError: The system refuses one of the steps.
    """
    libc = ctypes.CDLL(None, use_errno=True) if capability is not None else None
    if libc is not None:
        # Keeps the capabilities across setuid, and lets access(2) count them: Postgres asks it
        # whether its own programs are there.
        _checked(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if libc is not None and capability is not None:
        bit = 1 << capability
        header = _Header(_CAPABILITY_VERSION_3, 0)
        data = (_Data * 2)(_Data(bit, bit, bit), _Data(0, 0, 0))
        _checked(libc.capset(ctypes.byref(header), ctypes.byref(data)))
        _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _detach(log: str) -> None:
    """Continue in a child with a session of its own, its output appended to `log`."""
    if os.fork():
        os._exit(0)
    os.setsid()
    sink = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def main() -> None:
    """Run the order given as JSON in the first argument: argv, env, and optionally uid and log."""
    order = json.loads(sys.argv[1])
    os.umask(0o077)
    if order["uid"] is not None:
        become(order["uid"], order["gid"], order["capability"])
    if order["log"]:
        _detach(order["log"])
    # A working directory that the new user cannot enter would end the program at once.
    os.chdir("/")
    try:
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - a shell is not wanted
    except OSError as error:
        sys.stderr.write(f"cannot execute {order['argv'][0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(_CANNOT_EXECUTE)


if __name__ == "__main__":
    main()
