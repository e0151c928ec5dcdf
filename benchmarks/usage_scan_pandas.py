"""What one would write instead of the roll-up: all files into one frame, repeats out, group by day.

It knows no cuts, no late events, no bad rows, and begins anew every night.
"""

from pathlib import Path

import pandas as pd


def roll_up(folder: Path) -> pd.DataFrame:
    """Daily sums of the log, every event_id counted once.

    Args:
        folder: The log's Parquet files.
    """
    events = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    events = events.sort_values("occurred_at").drop_duplicates("event_id")
    events["day"] = events["occurred_at"].dt.floor("D")
    return events.groupby(["customer_id", "meter", "source", "day"], as_index=False).agg(
        event_count=("event_id", "size"),
        quantity_sum=("value", "sum"),
        last_at=("occurred_at", "max"),
        last_value=("value", "last"),
    )
