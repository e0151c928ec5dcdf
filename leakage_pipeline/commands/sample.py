"""`leakage review sample`: the month's customers to check by hand, and what people found."""

import re
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leakage_pipeline.classification.wording import plural
from leakage_pipeline.commands.report import newest_audit
from leakage_pipeline.commands.review import opened
from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.publishing.report_accuracy import accuracy_part
from leakage_pipeline.review import sample
from leakage_pipeline.settings import Settings


def print_sample(settings: Settings, month: str | None, console: Console) -> None:
    """Print a month's sample; that of the newest audit's month is drawn when nobody has yet.

    Raises:
        ConfigurationError: The month is none.
        PermanentFailure: No audit has run yet.
    """
    with opened(settings) as connection:
        as_of = newest_audit(connection)
        sample.draw(connection, as_of)
        chosen = _month(month) or sample.month_of(as_of)
        rows = sample.read(connection, chosen)
        told = accuracy_part(sample.accuracy(connection, as_of))
    if not rows:
        console.print(f"No sample was drawn in {chosen}.", highlight=False)
        return
    table = Table(title=f"Sample of {chosen}: check each by hand", title_justify="left")
    for name in ("customer", "name", "found", "verdict", "by", "note"):
        table.add_column(name, overflow="fold")
    for row in rows:
        found = plural(row["findings"], "finding") if row["found"] else "nothing"
        texts = (row["customer_id"], row["customer_name"], found, row["verdict"] or "to check")
        cells = [Text(text or "") for text in (*texts, row["checked_by"], row["note"])]
        table.add_row(*cells)
    console.print(table)
    if any(row["verdict"] is None for row in rows):
        hint = "Then: leakage review sample record CUSTOMER --verdict right|missed|wrong --note ..."
        console.print(hint, highlight=False, soft_wrap=True)
    if told:
        console.print(Text(told["sentence"]), highlight=False, soft_wrap=True)


def record_verdict(
    settings: Settings,
    month: str | None,
    customer_id: str,
    verdict: tuple[str, str],
    console: Console,
    *,
    by: str,
    at: datetime,
) -> None:
    """Write down a verdict and its note.

    Raises:
        ConfigurationError: The month is none.
        PermanentFailure: The customer is not in the sample, or a note is missing.
    """
    with opened(settings) as connection:
        as_of = newest_audit(connection)
        sample.draw(connection, as_of)
        chosen = _month(month) or sample.month_of(as_of)
        sample.record(connection, chosen, customer_id, *verdict, by=by, at=at)
    console.print(Text(f"{customer_id}: {verdict[0]}"), highlight=False)


def _month(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        message = f"--month {text}: write it as in 2026-11"
        raise ConfigurationError(message)
    return text
