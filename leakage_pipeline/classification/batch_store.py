"""`ops.classification_batches`: every batch of questions that was sent, or was about to be.

The row is committed before the request leaves. A batch that was never confirmed is looked up at
Anthropic before its questions are asked again, so that none is paid for twice.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

from leakage_pipeline.classification.evidence import Shown
from leakage_pipeline.classification.prompt import Prompt, plain
from leakage_pipeline.classification.schema import Category, NextAction
from leakage_pipeline.warehouse.tables import TableSpec

BATCHES = TableSpec(
    schema="ops",
    name="classification_batches",
    arrow_schema=pa.schema(
        [
            ("batch_key", pa.string()),
            ("classifier", pa.string()),
            ("status", pa.string()),
            ("remote_id", pa.string()),
            ("questions", pa.string()),
            ("reserved_dollars", pa.string()),
            ("dollars", pa.string()),
            ("note", pa.string()),
            ("created_at", pa.timestamp("us", "UTC")),
            ("collected_at", pa.timestamp("us", "UTC")),
        ]
    ),
    primary_key=("batch_key",),
    comment="Batches of questions to a model: planned, submitted, collected or failed.",
    json_columns=frozenset({"questions"}),
    numeric_columns=frozenset({"reserved_dollars", "dollars"}),
)


class Status(StrEnum):
    """Where a batch stands."""

    PLANNED = "planned"
    SUBMITTED = "submitted"
    COLLECTED = "collected"
    FAILED = "failed"


@dataclass(frozen=True)
class Question:
    """One request of a batch: the question's own hash, and all its answer is checked against."""

    custom_id: str
    prompt_hash: str
    prompt: Prompt


@dataclass(frozen=True)
class Batch:
    """A batch whose answers are not collected yet."""

    batch_key: str
    classifier: str
    remote_id: str | None
    questions: tuple[Question, ...]


def plan(conn: Connection, batch: Batch, reserved: Decimal, as_of: datetime) -> None:
    """Write down what is about to be sent, and commit."""
    with conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.classification_batches"
            " (batch_key, classifier, status, questions, reserved_dollars, created_at)"
            " values (%s, %s, %s, %s, %s, %s)",
            (
                batch.batch_key,
                batch.classifier,
                Status.PLANNED.value,
                json.dumps([_to_json(question) for question in batch.questions], default=plain),
                reserved,
                as_of,
            ),
        )
    conn.commit()


def submitted(conn: Connection, batch_key: str, remote_id: str) -> None:
    """Write down under which id Anthropic knows the batch, and commit."""
    _update(conn, batch_key, Status.SUBMITTED, remote_id=remote_id)
    conn.commit()


def failed(conn: Connection, batch_key: str, note: str) -> None:
    """Write down that the batch will never have answers, and commit."""
    _update(conn, batch_key, Status.FAILED, note=note)
    conn.commit()


def collected(
    conn: Connection, batch_key: str, dollars: Decimal, note: str, as_of: datetime
) -> None:
    """Write down that the answers were read; committed by the caller, together with them."""
    _update(
        conn, batch_key, Status.COLLECTED, dollars=dollars, note=note or None, collected_at=as_of
    )


def read_open(conn: Connection, classifier: str) -> list[Batch]:
    """Return the batches of this model that were planned or submitted, oldest first."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select batch_key, classifier, remote_id, questions::text as questions"
            " from ops.classification_batches"
            " where classifier = %s and status in ('planned', 'submitted')"
            " order by created_at, batch_key",
            (classifier,),
        )
        return [
            Batch(
                row["batch_key"],
                row["classifier"],
                row["remote_id"],
                tuple(_from_json(item) for item in json.loads(row["questions"])),
            )
            for row in cursor.fetchall()
        ]


def known_remote_ids(conn: Connection) -> set[str]:
    """Return the ids of all batches that we know to be ours."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select remote_id from ops.classification_batches where remote_id is not null"
        )
        return {row[0] for row in cursor.fetchall()}


def _update(conn: Connection, batch_key: str, status: Status, **values: object) -> None:
    columns: Sequence[str] = ("remote_id", "dollars", "note", "collected_at")
    given = {column: values.get(column) for column in columns}
    with conn.cursor() as cursor:
        cursor.execute(
            "update ops.classification_batches set status = %(status)s,"
            " remote_id = coalesce(%(remote_id)s, remote_id),"
            " dollars = coalesce(%(dollars)s, dollars),"
            " note = coalesce(%(note)s, note),"
            " collected_at = coalesce(%(collected_at)s, collected_at)"
            " where batch_key = %(batch_key)s",
            {**given, "status": status.value, "batch_key": batch_key},
        )


def _to_json(question: Question) -> Mapping[str, object]:
    prompt = question.prompt
    return {
        "custom_id": question.custom_id,
        "prompt_hash": question.prompt_hash,
        "fields": prompt.shown.fields,
        "categories": [category.value for category in prompt.categories],
        "actions": [action.value for action in prompt.actions],
        "placeholders": sorted(prompt.placeholders),
    }


def _from_json(stored: Mapping[str, object]) -> Question:
    # Decimals come back as text, in which their digits are found all the same.
    fields, categories, actions, placeholders = (
        stored[key] for key in ("fields", "categories", "actions", "placeholders")
    )
    prompt = Prompt(
        Shown(fields),  # type: ignore[arg-type] # written by `_to_json`
        tuple(Category(name) for name in categories),  # type: ignore[attr-defined]
        tuple(NextAction(name) for name in actions),  # type: ignore[attr-defined]
        frozenset(placeholders),  # type: ignore[call-overload]
    )
    return Question(str(stored["custom_id"]), str(stored["prompt_hash"]), prompt)
