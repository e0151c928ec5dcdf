"""What a load says of itself: to the run's record, and to `raw_stripe.sync_status`."""

from dataclasses import dataclass
from datetime import datetime


class LoadResult(dict[str, int]):
    """Rows loaded by table, and what a run's record should say besides.

    Attributes:
        requests: Requests sent, by object, repeated ones included.
        totals: Minor units by currency, where a sum makes sense.
        warnings: Sentences about what could not be read.
        since: Only what has changed since then was read; None: everything.
        unknown: Keys and values that Stripe sent and we have no name for.
    """

    def __init__(self, rows: dict[str, int]) -> None:
        super().__init__(rows)
        self.requests: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.warnings: list[str] = []
        self.unknown: list[str] = []
        self.since: datetime | None = None


@dataclass
class ObjectStatus:
    """What `raw_stripe.sync_status` will say about one object."""

    requests_before: int
    rows: int = 0
    status: str = "ok"
    detail: str | None = None
