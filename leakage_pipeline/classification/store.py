"""The tables of classification: what was decided, and which answers are already paid for.

`ops.classifications` holds one row per detection. `ops.classification_answers` holds every answer
that was paid for, accepted or not, so that the same evidence is never sent twice.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor, execute_values

from leakage_pipeline.classification.anthropic_request import Answered
from leakage_pipeline.classification.batch_store import BATCHES
from leakage_pipeline.classification.schema import (
    Category,
    ClassificationRow,
    Decision,
    NextAction,
)
from leakage_pipeline.warehouse.tables import TableSpec

ANSWERS = TableSpec(
    schema="ops",
    name="classification_answers",
    arrow_schema=pa.schema(
        [
            ("prompt_hash", pa.string()),
            ("classifier", pa.string()),
            ("decision", pa.string()),
            ("rejection", pa.string()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("cache_write_tokens", pa.int64()),
            ("cache_read_tokens", pa.int64()),
            ("dollars", pa.string()),
            ("batch_key", pa.string()),
            ("created_at", pa.timestamp("us", "UTC")),
        ]
    ),
    primary_key=("prompt_hash", "classifier"),
    comment="Answers of a model that were paid for: one row per question and model.",
    json_columns=frozenset({"decision"}),
    numeric_columns=frozenset({"dollars"}),
)

_COLUMNS = (
    "detection_id",
    "category",
    "next_action",
    "confidence",
    "rationale",
    "draft_subject",
    "draft_body",
    "classifier",
    "prompt_hash",
)


@dataclass(frozen=True)
class StoredAnswer:
    """An answer paid for earlier: a decision, or the reason why it was rejected."""

    decision: Decision | None
    rejection: str | None


def create_tables(conn: Connection) -> None:
    """Create the tables of paid answers and of batches when they are missing, and commit."""
    ANSWERS.create(conn)
    BATCHES.create(conn)


def read_answers(
    conn: Connection, prompt_hashes: Iterable[str], classifier: str
) -> dict[str, StoredAnswer]:
    """Return the answers that this classifier already gave to these questions, by hash."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(
            "select prompt_hash, decision::text as decision, rejection"
            " from ops.classification_answers"
            " where classifier = %s and prompt_hash = any(%s)",
            (classifier, list(prompt_hashes)),
        )
        return {
            row["prompt_hash"]: StoredAnswer(_decision(row["decision"]), row["rejection"])
            for row in cursor.fetchall()
        }


def save_answer(
    conn: Connection,
    prompt_hash: str,
    classifier: str,
    answer: Answered,
    as_of: datetime,
    batch_key: str | None = None,
) -> None:
    """Record a direct answer and commit at once, so that a crash does not pay for it again.

    Answers of a batch (`batch_key`) are committed by the caller, together with the batch.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.classification_answers (prompt_hash, classifier, decision, rejection,"
            " input_tokens, output_tokens, cache_write_tokens, cache_read_tokens, dollars,"
            " batch_key, created_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (prompt_hash, classifier) do nothing",
            (
                prompt_hash,
                classifier,
                _json(answer.decision) if answer.decision else None,
                answer.rejection,
                answer.use.input + answer.use.cache_write + answer.use.cache_read,
                answer.use.output,
                answer.use.cache_write,
                answer.use.cache_read,
                answer.dollars,
                batch_key,
                as_of,
            ),
        )
    if batch_key is None:
        conn.commit()


def read_classifications(conn: Connection) -> dict[str, ClassificationRow]:
    """Return what `ops.classifications` holds, by detection id."""
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(f"select {', '.join(_COLUMNS)} from ops.classifications")  # noqa: S608
        return {row["detection_id"]: ClassificationRow(**row) for row in cursor.fetchall()}


def write_classifications(
    conn: Connection, rows: Sequence[ClassificationRow], as_of: datetime
) -> int:
    """Replace the rows of these detections in one transaction; return how many were written.

    Call it with changed rows only: an unchanged decision keeps its `created_at`.
    """
    if not rows:
        return 0
    with conn.cursor() as cursor:
        cursor.execute(
            "delete from ops.classifications where detection_id = any(%s)",
            ([row.detection_id for row in rows],),
        )
        execute_values(
            cursor,
            f"insert into ops.classifications ({', '.join(_COLUMNS)}, created_at) values %s",  # noqa: S608
            [(*(getattr(row, column) for column in _COLUMNS), as_of) for row in rows],
            page_size=500,
        )
    conn.commit()
    return len(rows)


def _json(decision: Decision) -> str:
    return json.dumps(
        {
            "category": decision.category.value,
            "next_action": decision.next_action.value,
            "confidence": str(decision.confidence),
            "rationale": decision.rationale,
            "draft_subject": decision.draft_subject,
            "draft_body": decision.draft_body,
        }
    )


def _decision(text: str | None) -> Decision | None:
    if text is None:
        return None
    stored = json.loads(text)
    return Decision(
        category=Category(stored["category"]),
        next_action=NextAction(stored["next_action"]),
        confidence=Decimal(stored["confidence"]),
        rationale=stored["rationale"],
        draft_subject=stored["draft_subject"],
        draft_body=stored["draft_body"],
    )
