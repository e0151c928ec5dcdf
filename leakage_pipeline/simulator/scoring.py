"""How an audit's findings compare with the known leaks: precision, recall, amount error per type.

Findings and labels are matched on customer, subscription, type, meter and period start. Types that
have no labels and are none of the planted ones are listed apart, not judged.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from leakage_pipeline.simulator import opportunities
from leakage_pipeline.simulator.ground_truth import RULES

Row = Mapping[str, Any]
Key = tuple[str | None, str | None, str, str | None, datetime]

PLANTED_TYPES = (*RULES, *opportunities.TYPES)
TABLE_WIDTH = 126


@dataclass
class TypeScore:
    """The result for one finding type; `amount_error` adds up absolute errors of true positives.

    It adds currency units of whatever currency, so only 0 has a meaning of its own.
    """

    leakage_type: str
    expected: int = 0
    found: int = 0
    true_positives: int = 0
    amount_error: Decimal = Decimal(0)

    @property
    def false_positives(self) -> int:
        """Findings that no label expects."""
        return self.found - self.true_positives

    @property
    def false_negatives(self) -> int:
        """Labels that no finding meets."""
        return self.expected - self.true_positives

    @property
    def precision(self) -> float:
        """Share of the findings that are right; 1 when there are none."""
        return self.true_positives / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the labels that were found; 1 when there are none."""
        return self.true_positives / self.expected if self.expected else 1.0


@dataclass
class Score:
    """All types, and the rows to look at when something is wrong."""

    types: dict[str, TypeScore]
    unlabelled: dict[str, int] = field(default_factory=dict)
    missed: list[Row] = field(default_factory=list)
    unexpected: list[Row] = field(default_factory=list)
    wrong_amounts: list[tuple[Row, Row]] = field(default_factory=list)
    """Label and finding whose amounts differ."""
    beside: list[str] = field(default_factory=list)
    """What is wrong with phases, the hold list and the approved exceptions, in words."""

    @property
    def is_perfect(self) -> bool:
        """Whether everything was found, nothing else, and every amount is right."""
        return not (self.missed or self.unexpected or self.wrong_amounts or self.beside)


def score(
    detections: Iterable[Row],
    ground_truth: Row,
    *,
    holds: Iterable[Row] | None = None,
    exceptions: Iterable[Row] | None = None,
) -> Score:
    """Compare findings with the content of ground_truth.json.

    `holds` and `exceptions` are rows of marts.fct_invoice_holds and marts.fct_approved_exceptions;
    without them these are not looked at. `detections` are rows of marts.fct_leakage_detections
    (`leakage_amount` in currency units, `period_start` a datetime or ISO 8601); the meter is the
    key `meter`, else `evidence.meter`.
    A second finding with the same key is a false positive.
    """
    labels = {_key(row): row for row in ground_truth["labels"]}
    judged = {*PLANTED_TYPES, *(row["leakage_type"] for row in labels.values())}
    result = Score({name: TypeScore(name) for name in (*PLANTED_TYPES, *sorted(judged))})
    for label in labels.values():
        result.types[label["leakage_type"]].expected += 1
    unlabelled: Counter[str] = Counter()
    met: set[Key] = set()
    for finding in detections:
        if finding["leakage_type"] not in judged:
            unlabelled[finding["leakage_type"]] += 1
            continue
        key = _key(finding)
        known = labels.get(key) if key not in met else None
        met.add(key)
        _judge(result, finding, known)
    result.missed = [label for key, label in labels.items() if key not in met]
    result.unlabelled = dict(sorted(unlabelled.items()))
    if holds is not None:
        result.beside += _held(holds, ground_truth["holds"])
    if exceptions is not None:
        result.beside += _covered(exceptions, ground_truth["covered"])
    return result


def _held(rows: Iterable[Row], known: Iterable[Row]) -> list[str]:
    """Differences between the hold list and the drafts that are wrong."""

    def said(row: Row) -> str:
        amounts = [Decimal(str(row[name])) for name in ("drafted_amount", "expected_amount")]
        drafted, expected = (format(value.normalize(), "f") for value in amounts)
        return (
            f"draft of {row['customer_id']} {row['subscription_id']}: {drafted} instead of "
            f"{expected}, {', '.join(row['reasons'])}"
        )

    return _differences({said(row) for row in rows}, {said(row) for row in known})


def _covered(rows: Iterable[Row], known: Iterable[Row]) -> list[str]:
    """Differences between what exceptions cover and what they should cover."""

    def said(row: Row, amount: object) -> str:
        value = format(Decimal(str(amount)).normalize(), "f")
        return (
            f"exception of {row['customer_id']}: {row['leakage_type']} from "
            f"{_instant(row['period_start']):%Y-%m-%d %H:%M:%S}: {value} {row['currency']}"
        )

    return _differences(
        {said(row, row["covered_amount"]) for row in rows},
        {said(row, row["amount"]) for row in known},
    )


def _differences(found: set[str], known: set[str]) -> list[str]:
    missing = [f"missed      {text}" for text in sorted(known - found)]
    return missing + [f"unexpected  {text}" for text in sorted(found - known)]


def _judge(result: Score, finding: Row, label: Row | None) -> None:
    kind = result.types[finding["leakage_type"]]
    kind.found += 1
    if label is None:
        result.unexpected.append(finding)
        return
    kind.true_positives += 1
    phases = (label.get("phase"), finding.get("phase"))
    if "preflight" in phases and None not in phases and phases[0] != phases[1]:
        result.beside.append(f"phase       {_row_text(finding)}, {phases[1]} not {phases[0]}")
    stated, known = finding["leakage_amount"], label["amount"]
    found = Decimal(0) if stated is None else Decimal(str(stated))
    error = abs(found - Decimal(known or 0))
    if error or (stated is None) is not (known is None):
        kind.amount_error += error
        result.wrong_amounts.append((label, finding))


def _key(row: Row) -> Key:
    # Usage of nobody we know is told apart by the id that the log has.
    customer = row["customer_id"] or _evidence(row, "customer_ref")
    return (
        *(customer, row["subscription_id"], row["leakage_type"]),
        *(row.get("meter") or _evidence(row, "meter"), _instant(row["period_start"])),
    )


def _evidence(row: Row, name: str) -> str | None:
    evidence = row.get("evidence")
    if evidence is None:
        return None
    content = json.loads(evidence) if isinstance(evidence, str) else evidence
    return content.get(name) or None


def _instant(value: datetime | str) -> datetime:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def score_table(result: Score) -> Table:
    """The score as a table, one row per type."""
    table = Table(title="Findings against the known leaks")
    table.add_column("type")
    for name in ("expected", "found", "right", "wrong", "missed"):
        table.add_column(name, justify="right")
    for name in ("precision", "recall", "amount error"):
        table.add_column(name, justify="right")
    for kind in result.types.values():
        table.add_row(
            kind.leakage_type,
            *(str(kind.expected), str(kind.found), str(kind.true_positives)),
            *(str(kind.false_positives), str(kind.false_negatives)),
            *(f"{kind.precision:.2f}", f"{kind.recall:.2f}", format(kind.amount_error, "f")),
        )
    return table


def score_text(result: Score) -> str:
    """The table as plain text, with the types that are not judged below it."""
    console = Console(file=StringIO(), width=TABLE_WIDTH, color_system=None)
    with console.capture() as capture:
        console.print(score_table(result))
    text = capture.get()
    if result.unlabelled:
        counts = ", ".join(f"{name} {number}" for name, number in result.unlabelled.items())
        text += f"Not judged (no labels): {counts}\n"
    return text


def disagreements_text(result: Score, limit: int = 20) -> str:
    """The rows behind anything below 1.00, a line each: the customer's id holds its seed."""
    lines = [f"missed      {_row_text(row)}" for row in result.missed]
    lines += [f"unexpected  {_row_text(row)}" for row in result.unexpected]
    lines += [
        f"amount      {_row_text(found)}, expected {label['amount']}"
        for label, found in result.wrong_amounts
    ]
    lines += result.beside
    if len(lines) > limit:
        lines = [*lines[:limit], f"... and {len(lines) - limit} more"]
    return "\n".join(lines)


def _row_text(row: Row) -> str:
    amount = row.get("leakage_amount", row.get("amount"))
    return (
        f"{row['leakage_type']} {row['customer_id']} {row['subscription_id']} "
        f"{row.get('meter') or '-'} from {_instant(row['period_start']):%Y-%m-%d %H:%M:%S}: "
        f"{amount} {row['currency']}"
    )
