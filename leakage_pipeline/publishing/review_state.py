"""What people decided about findings, as far as texts have to respect it."""

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.findings import read_states


def dismissed_ids(conn: Connection) -> frozenset[str]:
    """Return the findings that a person called no finding: they leave every total."""
    states = read_states(conn)
    return frozenset(key for key, status in states.items() if status == "dismissed")
