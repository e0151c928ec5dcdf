"""Tells Dagster which failures of a load are worth another try, and how to report a load.

What went wrong is decided in `leakage_pipeline.failures`; nothing is judged here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from leakage_pipeline.failures import ConfigurationError, PermanentFailure

# Each request has had its own tries by then; this is for an outage of minutes.
RETRY_POLICY = dg.RetryPolicy(
    max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)


@contextmanager
def permanent_failures_end_the_run() -> Iterator[None]:
    """Keep Dagster from retrying what a retry cannot mend.

    Raises:
        dagster.Failure: in place of a PermanentFailure or ConfigurationError, which is its cause.
    """
    try:
        yield
    except (PermanentFailure, ConfigurationError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
