"""The three ways in which a run can fail, and which HTTP statuses are worth another try.

Every message is written for the person who reads it on a terminal: one line that says what is
wrong and how to mend it, never a secret. `defs/` maps these to Dagster's retry policy, `cli.py` to
exit codes.
"""

# 408 and 409 are asked for again because Stripe answers 409 while another request holds the same
# lock or idempotency key; 429 is its rate limit.
_TRANSIENT_STATUSES = frozenset({408, 409, 429})
_FIRST_SERVER_ERROR = 500


class ConfigurationError(Exception):
    """What the user wrote is wrong; the message names the file, the key and the fix (exit 2)."""


class PermanentFailure(Exception):  # noqa: N818 - it names an outcome, as TransientFailure does
    """A failure that trying again cannot mend, such as a revoked key (exit 1)."""


class TransientFailure(Exception):  # noqa: N818
    """A failure that may pass by itself, such as a server that is down (exit 1)."""


def is_transient_status(status: int) -> bool:
    """Tell whether an HTTP status may change when the same request is sent again.

    Args:
        status: The status code of an HTTP response.

    Returns:
        True for 408, 409, 429 and every 5xx.
    """
    return status in _TRANSIENT_STATUSES or status >= _FIRST_SERVER_ERROR
