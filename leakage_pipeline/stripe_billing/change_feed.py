"""Reads the events that say what has changed since the last audit, and applies each once.

The tables that keep what events tell about the past are the matter of `events.py`.
"""

from datetime import timedelta

import psycopg2.extensions

from leakage_pipeline.stripe_billing import changes
from leakage_pipeline.stripe_billing.changes import CHANGE_FEED, Refresh
from leakage_pipeline.stripe_billing.dead_letters import bury
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.listing import read_list
from leakage_pipeline.stripe_billing.tracking import type_pages
from leakage_pipeline.stripe_billing.values import Json

# An event may show up in the list some time after the second it bears.
OVERLAP = timedelta(days=1)


class ChangeFeed:
    """The followed events of one account up to one instant.

    Args:
        load: The load that they are read and applied with.
        how: The account, and whether anybody wants to know what has changed.
    """

    def __init__(self, load: GroupLoad, how: Refresh) -> None:
        self._load = load
        self._how = how
        self._since = changes.feed_since(load.conn, load.as_of, how)
        self._events: dict[str, Json] = {}
        self._is_whole = self._since is None

    @property
    def is_wanted(self) -> bool:
        """Whether there is anything to read; not where coverage only begins."""
        return self._since is not None

    def read(self) -> None:
        """Read every followed event since the last audit."""
        load = self._load
        since = self._since - OVERLAP if self._since else None
        for types in type_pages():
            for events in read_list(
                load.reader, "changes", load.as_of, since=since, params={"types": types}
            ):
                self._events.update((str(event.get("id")), event) for event in events)
        self._is_whole = True

    def apply(self, cursor: psycopg2.extensions.cursor) -> None:
        """Apply them in the load's transaction; what cannot be applied becomes a dead letter."""
        load = self._load
        if not self._how.incremental:
            return
        if not self._is_whole or load.refused("events"):
            changes.forget_progress(cursor, CHANGE_FEED)
            return
        changes.unapply_later(cursor, load.as_of)
        whole = [event for event in self._events.values() if _is_event(event)]
        _, failed = changes.apply_events(cursor, whole, load.as_of, "api")
        for name, reason in failed.items():
            bury(cursor, self._events[name], reason, load.as_of, origin="api")
        if self.is_wanted:
            load.count("changes", len(whole))
        changes.note_progress(cursor, CHANGE_FEED, load.as_of, self._how, full=self._since is None)


def _is_event(event: Json) -> bool:
    return (
        isinstance(event.get("id"), str)
        and isinstance(event.get("type"), str)
        and type(event.get("created")) is int
    )
