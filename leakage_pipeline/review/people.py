"""Who may sign in to the review page, and what each role may do there.

viewer reads; reviewer also assigns, notes, dismisses, takes back and checks the monthly sample;
approver also approves.
Passwords are kept as salted scrypt hashes, never as they are.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from leakage_pipeline.failures import PermanentFailure

ROLES = ("viewer", "reviewer", "approver")
MAY: Mapping[str, frozenset[str]] = {
    "viewer": frozenset(),
    "reviewer": frozenset({"assign", "note", "dismiss", "undo", "check"}),
    "approver": frozenset({"assign", "note", "dismiss", "undo", "check", "approve"}),
}
SHORTEST_PASSWORD = 12
_LONGEST_PASSWORD = 1024
# The parameters that OWASP names for scrypt; kept with each hash, so that they may grow.
_N, _R, _P, _BYTES = 2**17, 8, 1, 32
_MEMORY = 256 * 1024 * 1024


@dataclass(frozen=True)
class Person:
    """Somebody who may sign in."""

    name: str
    role: str

    def may(self, step: str) -> bool:
        """Whether the role allows this step."""
        return step in MAY[self.role]


def save(conn: Connection, name: str, role: str, password: str, *, by: str, at: datetime) -> None:
    """Add a person, or give a known one another role and password; both stand in the audit log.

    Raises:
        PermanentFailure: No such role, no name, or a password that is too short.
    """
    name = name.strip()
    if role not in ROLES or not name:
        message = f"a person needs a name and one of the roles {', '.join(ROLES)}"
        raise PermanentFailure(message)
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        message = f"the password needs at least {SHORTEST_PASSWORD} characters"
        raise PermanentFailure(message)
    with conn, conn.cursor() as cursor:
        cursor.execute("select role, is_active from ops.reviewers where name = %s", (name,))
        row = cursor.fetchone()
        before = {"role": row[0], "active": row[1]} if row else None
        cursor.execute(
            "insert into ops.reviewers (name, role, password_hash, is_active, updated_at)"
            " values (%s, %s, %s, true, %s) on conflict (name) do update set"
            " role = excluded.role, password_hash = excluded.password_hash,"
            " is_active = true, updated_at = excluded.updated_at",
            (name, role, _hash(password), at),
        )
        after = {"role": role, "active": True}
        _log(cursor, "reviewer_saved", name, before, after, by=by, at=at)


def disable(conn: Connection, name: str, *, by: str, at: datetime) -> None:
    """Let a person sign in no more; pages that are open in their browser stop working too.

    Raises:
        PermanentFailure: Nobody of this name may sign in.
    """
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "update ops.reviewers set is_active = false, updated_at = %s"
            " where name = %s and is_active returning role",
            (at, name),
        )
        row = cursor.fetchone()
        if row is None:
            message = f"nobody called {name} may sign in; leakage review people list shows who may"
            raise PermanentFailure(message)
        before = {"role": row[0], "active": True}
        _log(cursor, "reviewer_disabled", name, before, {**before, "active": False}, by=by, at=at)


def everybody(conn: Connection) -> list[tuple[str, str, bool]]:
    """Name, role and whether they may sign in, by name."""
    with conn, conn.cursor() as cursor:
        cursor.execute("select name, role, is_active from ops.reviewers order by name")
        return cursor.fetchall()


def active(conn: Connection, name: str) -> Person | None:
    """The person of this name, None when they may not sign in (any more)."""
    with conn, conn.cursor() as cursor:
        cursor.execute("select role from ops.reviewers where name = %s and is_active", (name,))
        row = cursor.fetchone()
    return Person(name, row[0]) if row else None


def sign_in(conn: Connection, name: str, password: str) -> Person | None:
    """The person, when name and password fit; an unknown name takes as long as a wrong password."""
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "select role, password_hash from ops.reviewers where name = %s and is_active", (name,)
        )
        row = cursor.fetchone()
    role, stored = row or (None, _NOBODY)
    fits = len(password) <= _LONGEST_PASSWORD and _fits(password, stored)
    return Person(name, role) if role and fits else None


def _hash(password: str) -> str:
    salt = secrets.token_bytes(16)
    key = _key(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${salt.hex()}${key.hex()}"


def _fits(password: str, stored: str) -> bool:
    _, n, r, p, salt, key = stored.split("$")
    found = _key(password, bytes.fromhex(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, bytes.fromhex(key))


def _key(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=_BYTES)


_NOBODY = f"scrypt${_N}${_R}${_P}${'00' * 16}${'00' * _BYTES}"


def _log(
    cursor: Cursor,
    action: str,
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    *,
    by: str,
    at: datetime,
) -> None:
    cursor.execute(
        "insert into ops.audit_log (actor, action, subject, before, after, at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (by, action, f"reviewer:{name}", json.dumps(before), json.dumps(after), at),
    )
