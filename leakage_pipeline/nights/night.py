"""Decides whom a night prices anew, and hands dbt those customers' rows and no others.

A customer is priced when a row of theirs changed since the last build that ended, when an instant
has gone by that a model compares with `as_of`, when a finding stands about them, when their family
is priced, or when a build that was to price them was cut off. Everybody is, when something changed
that all share, and once a week. Whatever is in doubt is priced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg2.extensions
from psycopg2 import sql

from leakage_pipeline.nights import families, fingerprints, rows, thresholds
from leakage_pipeline.nights.ownership import OWNED, PAIRED

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

_SCHEMA = Path(__file__).with_name("schema.sql")
FULL_EVERY = "interval '7 days'"
_CHANGED = "changed rows"
_CUT_OFF = "an audit that was cut off or repeated"
_FAMILY = "a family member who is priced"
_FINDINGS = "intermediate.int_findings__judged"
_PAIRS = "intermediate.int_accounts__reconciliation"


@dataclass(frozen=True)
class Night:
    """What a build prices.

    Attributes:
        is_full: Whether every table is made from scratch.
        customers: How many customers are priced anew; 0 in a full build, which prices all.
        reason: Why the build is full; empty when it is not.
    """

    is_full: bool
    customers: int
    reason: str = ""


def begin(conn: Connection, as_of: datetime, code: str, *, full_refresh: bool) -> Night:
    """Decide whom this build prices, after Stripe and the business files are loaded.

    Args:
        conn: The warehouse; the decision is committed.
        as_of: What is now for the build.
        code: Names the version of the models; another one builds everything anew.
        full_refresh: Build everything anew.
    """
    with conn.cursor() as cursor:
        _make_tables(cursor, code)
        reason = "as asked or configured" if full_refresh else _reason_for_all(cursor, as_of, code)
        cursor.execute("truncate night.customers, night.seen")
        families.see(cursor)
        fingerprints.see_rows(cursor)
        reason = reason or _choose(cursor, as_of)
        if not reason:
            _settle(cursor)
            rows.make_tables(cursor)
            rows.extract(cursor)
        # The last as_of stays until this build has ended: from there on time is counted.
        cursor.execute(
            _BEGIN, {"is_full": bool(reason), "as_of": as_of, "code": code, "reason": reason}
        )
        count = 0 if reason else _count(cursor)
    conn.commit()
    return Night(bool(reason), count, reason)


def current(conn: Connection) -> Night:
    """The build that `begin` has decided last; a full one when there is none."""
    with conn.cursor() as cursor:
        cursor.execute("select to_regclass('night.build') is not null")
        (exists,) = cursor.fetchone() or (False,)
        if not exists:
            return Night(is_full=True, customers=0)
        cursor.execute("select is_full, reason from night.build")
        is_full, reason = cursor.fetchone() or (True, "")
        return Night(is_full, 0 if is_full else _count(cursor), reason)


def add_users(conn: Connection) -> int:
    """Add the customers whose usage changed, after the usage log is loaded.

    Returns:
        How many came in: their periods are not built yet.
    """
    is_full = current(conn).is_full
    with conn.cursor() as cursor:
        fingerprints.see_usage(cursor, anew=is_full)
        if is_full:
            conn.commit()
            return 0
        before = _count(cursor)
        changed = fingerprints.shared_change(cursor, late=True)
        if changed:
            _add(cursor, changed, _EVERYBODY)
        _add(cursor, "changed usage", _changed("usage_hash"))
        families.add(cursor, _FAMILY)
        _settle(cursor)
        added = _count(cursor) - before
        if added:
            rows.extract(cursor)
        rows.extract(cursor, late=True)
    conn.commit()
    return added


def end(conn: Connection, as_of: datetime) -> None:
    """Keep what this build knew; from here on the next one counts what changed.

    Nothing is kept when the build was begun for another instant: somebody ran a part of the job by
    hand, over rows that `begin` has not seen.
    """
    with conn.cursor() as cursor:
        if not _holds(cursor, "select begun_as_of = %s from night.build", as_of):
            return
        _release(cursor, as_of)
        cursor.execute("truncate night.known; insert into night.known select * from night.seen")
        families.keep(cursor)
        fingerprints.keep_shared(cursor)
        cursor.execute(_KEEP_STANDING)
        cursor.execute(_END, {"as_of": as_of})
        cursor.execute("analyze night.known")
    conn.commit()


def told(conn: Connection) -> str:
    """Whom the newest build priced and why, as one sentence."""
    night = current(conn)
    with conn.cursor() as cursor:
        cursor.execute("select count(*) from raw_stripe.customers")
        (total,) = cursor.fetchone() or (0,)
        if night.is_full:
            return f"Priced all {total:,} customers: {night.reason}."
        cursor.execute(
            "select reason, count(*) from night.customers group by reason order by 2 desc, 1"
        )
        reasons = ", ".join(f"{count:,} for {reason}" for reason, count in cursor.fetchall())
    return f"Priced {night.customers:,} of {total:,} customers: {reasons or 'nothing changed'}."


# ------------------------------------------------------------------ deciding

# What another version of the code knew is of no use to this one, and may have other columns.
_FORGET = """
    drop table if exists
        night.known, night.seen, night.usage, night.customers, night.unfinished, night.shared,
        night.standing, night.links, night.links_seen
"""

_BEGIN = """
    insert into night.build (
        is_full, is_done, begun_as_of, as_of, newest_as_of, full_as_of, code, reason
    )
    values (
        %(is_full)s, false, %(as_of)s, %(as_of)s, '-infinity', %(as_of)s, %(code)s, %(reason)s
    )
    on conflict (singleton) do update set
        is_full = excluded.is_full,
        is_done = false,
        begun_as_of = excluded.begun_as_of,
        as_of = case when excluded.is_full then excluded.as_of else night.build.as_of end,
        full_as_of =
            case when excluded.is_full then excluded.full_as_of else night.build.full_as_of end,
        code = excluded.code,
        reason = excluded.reason
"""
_END = """
    update night.build
    set is_done = true, as_of = %(as_of)s, newest_as_of = greatest(newest_as_of, %(as_of)s)
"""
_EVERYBODY = "select customer_id from night.seen union select customer_id from night.known"
_UNCLAIMED = "select account_id from raw_business.accounts where customer_id is null"
# What we told Stripe ourselves is counted by models, and its table tells what came back of it.
_CORRECTED = """
    select actions.customer_id from ops.recovery_actions as actions
    union
    select subscriptions.customer_id
    from ops.recovery_actions as actions
    inner join raw_stripe.subscriptions as subscriptions
        on subscriptions.subscription_id = actions.subscription_id
"""
_PRICED = (
    "(select is_full from night.build) or customer_id in (select customer_id from night.customers)"
)
# Gaps of several customers are explained together, and findings are weighed against each other.
_KEEP_STANDING = f"""
    delete from night.standing where {_PRICED};
    insert into night.standing
    select customer_id from {_FINDINGS} where customer_id is not null
    union
    select terms.customer_id
    from intermediate.int_usage__gaps as gaps
    inner join intermediate.int_terms__metered_terms as terms on gaps.charge_id = terms.charge_id
    on conflict do nothing;
"""  # noqa: S608 - names of ours


def _make_tables(cursor: Cursor, code: str) -> None:
    cursor.execute("select to_regclass('night.build') is not null")
    if cursor.fetchone() == (True,) and _holds(cursor, "select code != %s from night.build", code):
        cursor.execute(_FORGET)
    cursor.execute(_SCHEMA.read_text(encoding="utf-8"))


def _reason_for_all(cursor: Cursor, as_of: datetime, code: str) -> str:
    cursor.execute(
        sql.SQL(
            "select is_full, is_done, code, %(as_of)s < newest_as_of or as_of < newest_as_of,"
            " %(as_of)s >= full_as_of + {} from night.build"
        ).format(sql.SQL(FULL_EVERY)),
        {"as_of": as_of},
    )
    found = cursor.fetchone()
    if found is None:
        return "the first audit"
    was_full, was_done, last_code, is_out_of_order, is_due = found
    reasons = {
        "the last one was cut off": was_full and not was_done,
        "the models changed": last_code != code,
        # Snapshots follow the order of the instants: a build that went back left some out.
        "an audit of a later instant came before": is_out_of_order,
        "once a week": is_due,
        # Who is among the first n customers depends on all of them.
        "the number of customers is limited": _holds(
            cursor,
            "select rollout_max_customers is not null from raw_business.audit_settings",
        ),
        "tables of the last audit are gone": _holds(
            cursor, f"select to_regclass('{_FINDINGS}') is null"
        ),
    }
    reason = next((reason for reason, applies in reasons.items() if applies), "")
    return reason or fingerprints.shared_change(cursor, late=False)


def _choose(cursor: Cursor, as_of: datetime) -> str:
    """Fill night.customers; the reason to price everybody after all, if there is one."""
    _add(cursor, _CUT_OFF, "select customer_id from night.unfinished where is_pair_in_doubt")
    _add(cursor, _CHANGED, _changed("pairs_hash"))
    _add_passed(cursor, as_of, thresholds.passed(PAIRED))
    families.add(cursor, _FAMILY)
    if not _is_share_of_accounts_sure(cursor):
        return "about half of the customers have an account"
    cursor.execute("update night.customers set is_pair_in_doubt = true")
    _add(cursor, _CUT_OFF, "select customer_id from night.unfinished")
    _add(cursor, _CHANGED, _changed("rows_hash"))
    if _holds(
        cursor, "select true from night.customers where customer_id = %s", fingerprints.NOBODY
    ):
        return "rows that lead to no customer changed"
    _add_passed(cursor, as_of, thresholds.passed(OWNED))
    _add_passed(cursor, as_of, thresholds.worked_out())
    _add(cursor, "a finding or usage gap that stands", "select customer_id from night.standing")
    _add(cursor, "a correction of ours", _CORRECTED)
    _add(cursor, "an account without a customer", _UNCLAIMED)
    families.add(cursor, _FAMILY)
    return ""


def _add_passed(cursor: Cursor, as_of: datetime, selects: Iterable[sql.Composable]) -> None:
    cursor.execute("select as_of from night.build")
    (since,) = cursor.fetchone() or (as_of,)
    for select in selects:
        _add(cursor, "an instant that passed", select, since=since, as_of=as_of)


def _is_share_of_accounts_sure(cursor: Cursor) -> bool:
    """Whether tonight's customers cannot turn the judgement whether the accounts file is whole.

    Half of the customers with a live subscription must have an account (rule 8.10), and one that
    changes weighs two at most. So far night.customers has those whose account may have changed.
    """
    cursor.execute(
        sql.SQL(
            """
            select 2 * count(*) filter (where customers.has_account) - count(*)
            from (
                select bool_or(verdict != 'no_account') as has_account
                from {}
                where subscription_id is not null and is_live
                group by customer_id
            ) as customers
            """
        ).format(sql.SQL(_PAIRS))
    )
    (surplus,) = cursor.fetchone() or (0,)
    return bool(surplus - 2 * _count(cursor) >= 0 or surplus + 2 * _count(cursor) < 0)


def _changed(number: str) -> sql.Composed:
    """Customers whose number in night.known is not the one in night.seen."""
    return sql.SQL(
        """
        select coalesce(seen.customer_id, known.customer_id)
        from night.seen as seen
        full join night.known as known on seen.customer_id = known.customer_id
        where seen.customer_id is null or seen.{0} is distinct from known.{0}
        """
    ).format(sql.Identifier(number))


def _add(
    cursor: Cursor, reason: str, customers: str | sql.Composable, **parameters: datetime
) -> None:
    found = sql.SQL(customers) if isinstance(customers, str) else customers
    cursor.execute(
        sql.SQL(
            "insert into night.customers (customer_id, reason)"
            " select distinct found.customer_id, %(reason)s from ({}) as found (customer_id)"
            " where found.customer_id is not null on conflict do nothing"
        ).format(found),
        {"reason": reason, **parameters},
    )


def _holds(cursor: Cursor, query: str, *parameters: object) -> bool:
    cursor.execute(query, parameters or None)
    return cursor.fetchone() == (True,)


def _release(cursor: Cursor, as_of: datetime) -> None:
    """This build has ended: nobody is unfinished, unless it took no snapshots.

    An instant that is audited again adds nothing to the history, so what changed in between has to
    be seen by the next audit too.
    """
    if _holds(cursor, "select %s > newest_as_of from night.build", as_of):
        cursor.execute("truncate night.unfinished")
        return
    cursor.execute(
        sql.SQL(
            """
            delete from night.unfinished
            where customer_id in (select customer_id from night.customers where reason != %s);
            insert into night.unfinished (customer_id) {} on conflict do nothing
            """
        ).format(_changed("rows_hash")),
        (_CUT_OFF,),
    )


def _settle(cursor: Cursor) -> None:
    """Until this build ends, tonight's customers count as changed for whatever build follows."""
    cursor.execute(
        "insert into night.unfinished as unfinished"
        " select customer_id, is_pair_in_doubt from night.customers"
        " on conflict (customer_id) do update set"
        " is_pair_in_doubt = unfinished.is_pair_in_doubt or excluded.is_pair_in_doubt"
    )
    cursor.execute("analyze night.customers")


def _count(cursor: Cursor) -> int:
    cursor.execute("select count(*) from night.customers")
    (count,) = cursor.fetchone() or (0,)
    return int(count)
