"""Asks Stripe how much a meter has counted for a customer, span by span, and loads the answers.

One request per span that dbt asked for and no earlier answer still settles; one call at a time per
customer and meter: Stripe's rule.
An empty answer is null and never 0: Stripe not knowing of usage is not the same as no usage.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

import psycopg2.errors
import psycopg2.extensions
import pyarrow as pa

from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.stripe_billing import tables
from leakage_pipeline.stripe_billing.budget import read_budget
from leakage_pipeline.stripe_billing.changes import Refresh
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.concurrency import gather
from leakage_pipeline.stripe_billing.errors import EndpointMissing, ObjectMissing
from leakage_pipeline.stripe_billing.group import GroupLoad
from leakage_pipeline.stripe_billing.load_result import LoadResult
from leakage_pipeline.stripe_billing.objects import OBJECTS, Scalar
from leakage_pipeline.stripe_billing.summary_answers import SpanKey, answered, note_answers
from leakage_pipeline.stripe_billing.values import Json, decimal_text

_OBJECT = "meter_event_summaries"
_EVERYTHING = Refresh()

_REQUESTS = """
    select requests.meter_id, requests.customer_id, requests.start_at, requests.end_at,
        meters.formula
    from intermediate.int_usage__summary_requests as requests
    left join raw_stripe.meters as meters using (meter_id)
    order by 1, 2, 3, 4
"""

_SUMMARIES = Flattener(
    tables.METER_EVENT_SUMMARIES,
    {name: name for name in ("meter_id", "customer_id", "aggregated_value", "payload")},
)


@dataclass(frozen=True)
class SummaryRequest:
    """One span of one customer and meter.

    Attributes:
        meter_id: The meter.
        customer_id: The customer.
        start_at: First instant, on a whole minute.
        end_at: First instant after the span, on a whole minute.
        formula: How the meter aggregates; None when it is not known.
    """

    meter_id: str
    customer_id: str
    start_at: datetime
    end_at: datetime
    formula: str | None = None

    @property
    def key(self) -> SpanKey:
        """Meter, customer and the two instants."""
        return self.meter_id, self.customer_id, self.start_at, self.end_at

    @property
    def pair(self) -> tuple[str, str]:
        """Meter and customer."""
        return self.meter_id, self.customer_id


@dataclass(frozen=True)
class Answer:
    """What Stripe said about one span.

    Attributes:
        request: The span.
        summaries: Stripe's rows; empty when it has none.
        known: False when Stripe does not know the customer or the meter (any more).
    """

    request: SummaryRequest
    summaries: list[Json]
    known: bool = True

    def value(self) -> str | None:
        """The aggregate over the whole span as decimal text; None when there is none."""
        values = [self._number(row) for row in self.summaries]
        if not values:
            return None
        if self.request.formula == "last":
            newest = max(self.summaries, key=lambda row: int(row.get("end_time") or 0))
            return decimal_text(self._number(newest))
        return decimal_text(sum(values, Decimal(0)))

    def _number(self, row: Json) -> Decimal:
        try:
            text = decimal_text(row.get("aggregated_value"))
        except (TypeError, ValueError) as error:
            message = f"Stripe {_OBJECT} {row.get('id')}: aggregated_value: {error}"
            raise PermanentFailure(message) from None
        if text is None:
            message = f"Stripe {_OBJECT} {row.get('id')}: aggregated_value is missing"
            raise PermanentFailure(message)
        return Decimal(text)


def load_meter_event_summaries(
    reader: StripeReader,
    conn: psycopg2.extensions.connection,
    as_of: datetime,
    how: Refresh = _EVERYTHING,
) -> LoadResult:
    """Ask for the spans in `intermediate.int_usage__summary_requests` and load the answers.

    Args:
        reader: Access to the account.
        conn: The warehouse.
        as_of: Instant of the audit.
        how: Whether answers that still hold need not be asked for again.

    Returns:
        Rows by table; answers that still hold are not counted.

    Raises:
        PermanentFailure: the table of requests is not there, or Stripe refuses a request as wrong.
        TransientFailure: Stripe keeps failing; nothing is written.
    """
    spec = tables.METER_EVENT_SUMMARIES
    questions = _requests(conn)
    with GroupLoad(reader, conn, as_of, (spec,), how=how) as load:
        partly = load.since is not None
        held = answered(conn, as_of) if partly else set()
        if partly:
            load.merge_only(spec)
        open_questions = [item for item in questions if item.key not in held]
        affordable = open_questions[: read_budget(conn, as_of, how.read_budget).left]
        unknown: set[tuple[str, str]] = set()

        def rows(answers: Sequence[Answer], sync: Sync) -> dict[str, pa.RecordBatch]:
            unknown.update(answer.request.pair for answer in answers if not answer.known)
            return _flatten(answers, sync)

        def ask() -> None:
            load.add_each(_OBJECT, answers_of(reader, affordable), rows)

        is_asked = load.attempt(_OBJECT, ask)
        if not is_asked:
            load.spool.discard([_OBJECT])
        else:
            load.count(_OBJECT, len(questions) - len(open_questions))
        if is_asked and unknown:
            load.note(_OBJECT, f"Stripe does not know {len(unknown)} pairs of meter and customer")
        if len(affordable) < len(open_questions):
            skipped = len(open_questions) - len(affordable)
            load.note(_OBJECT, f"{skipped} spans were not asked about: the read budget is used up")
        asked = [item.key for item in affordable] if is_asked else []
        return load.commit(lambda cursor: note_answers(cursor, asked, as_of))


def answers_of(reader: StripeReader, requests: Iterable[SummaryRequest]) -> Iterator[Answer]:
    """Ask for spans, concurrently over customers and meters, in order within each pair.

    Args:
        reader: Access to the account.
        requests: Sorted by meter and customer.

    Yields:
        One answer a request, in any order.
    """

    def ask_all(spans: list[SummaryRequest]) -> Callable[[], Iterator[Answer]]:
        return lambda: (_ask(reader, span) for span in spans)

    pairs = groupby(requests, key=lambda item: item.pair)
    yield from gather((ask_all(list(spans)) for _, spans in pairs), reader.workers)


def _ask(reader: StripeReader, request: SummaryRequest) -> Answer:
    target = OBJECTS[_OBJECT]
    params: dict[str, Scalar] = {
        "customer": request.customer_id,
        "start_time": int(request.start_at.timestamp()),
        "end_time": int(request.end_at.timestamp()),
    }
    path = target.path.format(id=request.meter_id)
    try:
        pages = reader.pages(target, path, params)
        return Answer(request, [row for page in pages for row in page.objects])
    except ObjectMissing:
        return Answer(request, [], known=False)
    except EndpointMissing:
        # Told from a server without meters by asking whether it knows this one.
        if reader.retrieve("meters", request.meter_id) is None:
            raise
        return Answer(request, [], known=False)


def _requests(conn: psycopg2.extensions.connection) -> list[SummaryRequest]:
    try:
        with conn.cursor() as cursor:
            cursor.execute(_REQUESTS)
            found = [SummaryRequest(*row) for row in cursor]
    except psycopg2.errors.UndefinedTable:
        conn.rollback()
        message = (
            "intermediate.int_usage__summary_requests is not there; "
            "materialize the dbt assets of metering_questions first"
        )
        raise PermanentFailure(message) from None
    conn.rollback()
    return found


def _flatten(answers: Sequence[Answer], sync: Sync) -> dict[str, pa.RecordBatch]:
    objects = [
        {
            "id": f"of {answer.request.customer_id} on {answer.request.meter_id}",
            "meter_id": answer.request.meter_id,
            "customer_id": answer.request.customer_id,
            "aggregated_value": answer.value(),
            "payload": answer.summaries,
        }
        for answer in answers
    ]
    batch = _SUMMARIES.batch(
        objects,
        sync,
        start_at=[int(answer.request.start_at.timestamp()) for answer in answers],
        end_at=[int(answer.request.end_at.timestamp()) for answer in answers],
    )
    return {_OBJECT: batch}
