"""Which answers about metered usage still hold, so that the question need not be asked again.

One request costs one customer, meter and span, and Stripe limits reads per month. An answer holds
while our log says the same about its span as when it was given, and Stripe cannot have learnt more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg2.extensions
from psycopg2.extras import execute_values

SpanKey = tuple[str, str, datetime, datetime]

# Stripe adds up events with a delay, and takes events for times up to 35 days back. Until then an
# answer about a closed span is asked for again once a week.
_SETTLED_AFTER = timedelta(days=1)
_FINAL_AFTER = timedelta(days=36)
_ASKED_AGAIN_AFTER = timedelta(days=7)

# What our log says about each span that is asked about.
_USAGE_SEEN = """
    select
        requests.meter_id, requests.customer_id, requests.start_at, requests.end_at,
        concat_ws(
            ' ', count(windows.customer_id), sum(windows.event_count),
            trim_scale(sum(windows.quantity_sum)), max(windows.last_at), max(windows.last_value)
        ) as usage_seen
    from intermediate.int_usage__summary_requests as requests
    inner join raw_stripe.meters as meters on requests.meter_id = meters.meter_id
    left join (
        select windows.*, coalesce(mappings.stripe_event_name, windows.meter) as event_name
        from raw_usage.usage_windows as windows
        left join raw_business.meter_mappings as mappings on windows.meter = mappings.meter
    ) as windows
        on requests.customer_id = windows.customer_id
        and meters.event_name = windows.event_name
        and requests.start_at < windows.window_end
        and requests.end_at > windows.window_start
    group by 1, 2, 3, 4
"""


def answered(conn: psycopg2.extensions.connection, as_of: datetime) -> set[SpanKey]:
    """The spans whose stored answer still holds."""
    with conn.cursor() as cursor:
        cursor.execute(
            f"""
            select seen.meter_id, seen.customer_id, seen.start_at, seen.end_at
            from ({_USAGE_SEEN}) as seen
            inner join ops.stripe_summary_answers as answers
                using (meter_id, customer_id, start_at, end_at)
            inner join raw_stripe.meter_event_summaries as stored
                using (meter_id, customer_id, start_at, end_at)
            where answers.usage_seen = seen.usage_seen
                and answers.asked_at >= seen.end_at + %(settled)s
                and (
                    answers.asked_at >= seen.end_at + %(final)s
                    or answers.asked_at > %(as_of)s - %(again)s
                )
            """,  # noqa: S608 - one constant
            {
                "as_of": as_of,
                "settled": _SETTLED_AFTER,
                "final": _FINAL_AFTER,
                "again": _ASKED_AGAIN_AFTER,
            },
        )
        found = set(cursor.fetchall())
    conn.rollback()
    return found


def note_answers(
    cursor: psycopg2.extensions.cursor, asked: Sequence[SpanKey], as_of: datetime
) -> None:
    """Note what was answered, and forget what nobody asks about any more, in the transaction."""
    cursor.execute(
        "create temporary table asked_now (like ops.stripe_summary_answers) on commit drop"
    )
    execute_values(
        cursor,
        "insert into asked_now (meter_id, customer_id, start_at, end_at, asked_at) values %s",
        [(*key, as_of) for key in asked],
        page_size=1000,
    )
    cursor.execute(
        f"""
        insert into ops.stripe_summary_answers
        select asked.meter_id, asked.customer_id, asked.start_at, asked.end_at, seen.usage_seen,
            asked.asked_at
        from asked_now as asked
        left join ({_USAGE_SEEN}) as seen using (meter_id, customer_id, start_at, end_at)
        on conflict (meter_id, customer_id, start_at, end_at) do update set
            usage_seen = excluded.usage_seen, asked_at = excluded.asked_at
        """  # noqa: S608 - one constant
    )
    for table in ("ops.stripe_summary_answers", "raw_stripe.meter_event_summaries"):
        cursor.execute(
            f"""
            delete from {table} as stored
            where not exists (
                select 1 from intermediate.int_usage__summary_requests as requests
                where requests.meter_id = stored.meter_id
                    and requests.customer_id = stored.customer_id
                    and requests.start_at = stored.start_at
                    and requests.end_at = stored.end_at
            )
            """  # noqa: S608 - names of our own
        )
