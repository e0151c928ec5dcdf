"""Every load of Stripe once, in a process of its own, so that it can be killed.

`python -m tests.support.load_stripe URL BASE KEY AS_OF`
"""

import sys
from datetime import datetime

from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.warehouse.connection import connect
from tests.support.stripe_loads import load_everything


def main(url: str, base: str, key: str, as_of: str) -> None:
    """Load everything that has changed."""
    reader = StripeReader(key, base, rate_limit=500.0, first_delay=0.05)
    conn = connect(url)
    how = Refresh(incremental=True, source="acct")
    load_everything(reader, conn, datetime.fromisoformat(as_of), how)
    conn.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
