"""What people decided about findings, as far as texts have to respect it."""

from collections.abc import Mapping

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class


def read_states(conn: Connection) -> Mapping[str, str]:
    """Return the status of every finding that has one, by detection id."""
    with conn.cursor() as cursor:
        cursor.execute("select detection_id, status from ops.detection_state")
        return dict(cursor.fetchall())


def dismissed_ids(conn: Connection) -> frozenset[str]:
    """Return the findings that a person called no finding: they leave every total."""
    states = read_states(conn)
    return frozenset(key for key, status in states.items() if status == "dismissed")
