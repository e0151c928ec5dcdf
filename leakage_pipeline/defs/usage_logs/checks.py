"""Checks of the usage log: rows could be read, clocks are right, and the log was never silent.

All warn: the windows that there are remain right, and what is missing is told in the report.
"""

from collections.abc import Sequence

import dagster as dg

from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from leakage_pipeline.usage_logs.outages import SilentDay

# More than this share of unreadable rows is worth a look: a producer may have changed its format.
MOST_REJECTED = 0.01
_WINDOWS = dg.AssetKey(["raw_usage", "usage_windows"])
_COVERAGE = dg.AssetKey(["raw_usage", "log_coverage"])
_REJECTED = "few_rows_rejected"
_SILENT = "no_silent_day"
_SKEW = "no_clock_skew"
_DAYS_NAMED = 10
SPECS = [
    dg.AssetCheckSpec(
        _REJECTED, asset=_WINDOWS, description="Less than 1 % of the rows cannot be read"
    ),
    dg.AssetCheckSpec(
        _SKEW,
        asset=_WINDOWS,
        description="No event arrived before it happened, or lies after the audit",
    ),
    dg.AssetCheckSpec(
        _SILENT, asset=_COVERAGE, description="No day is without events of a daily meter"
    ),
]


def few_rows_rejected(result: UsageLoadResult) -> dg.AssetCheckResult:
    """Warn when too large a share of the rows could not be read."""
    share = result.unreadable_share
    return dg.AssetCheckResult(
        asset_key=_WINDOWS,
        check_name=_REJECTED,
        passed=share < MOST_REJECTED,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{result.unreadable} rows of the usage log ({share:.1%}) could not be read",
        metadata={"rejected_rows": result.unreadable, "rejected_share": share},
    )


def no_clock_skew(result: UsageLoadResult) -> dg.AssetCheckResult:
    """Warn of events whose producer's clock runs ahead of the log's."""
    skewed, ahead = result.skewed_events, result.ahead_of_clock
    return dg.AssetCheckResult(
        asset_key=_WINDOWS,
        check_name=_SKEW,
        passed=not skewed and not ahead,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"Clocks run ahead: {skewed} events were received more than a minute before they "
            f"happened, and {ahead} lie after the audit though they had arrived"
            if skewed or ahead
            else None
        ),
        metadata={"skewed_events": skewed, "rejected_events_ahead_of_the_audit": ahead},
    )


def no_silent_day(silent: Sequence[SilentDay]) -> dg.AssetCheckResult:
    """Warn of days without any event of a meter that nearly always has some."""
    named = ", ".join(map(str, silent[:_DAYS_NAMED]))
    more = f" and {len(silent) - _DAYS_NAMED} more" if len(silent) > _DAYS_NAMED else ""
    return dg.AssetCheckResult(
        asset_key=_COVERAGE,
        check_name=_SILENT,
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The usage log was silent: {named}{more}" if silent else None,
        metadata={"silent_days": len(silent)},
    )
