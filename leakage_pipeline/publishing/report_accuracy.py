"""How right the audit is, by people's own check of the monthly samples, worded for the report."""

from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.wording import percent, plural
from leakage_pipeline.review.sample import Accuracy


def accuracy_part(result: Accuracy) -> dict[str, Any] | None:
    """Word the measured accuracy; None while no sample was ever drawn."""
    if not result.checked and not result.waiting:
        return None
    waiting = ""
    if result.waiting:
        waiting = f"{plural(result.waiting, 'customer')} of this month's sample still to check."
    if not result.checked:
        return {"sentence": f"Nothing measured yet. {waiting}", "rows": []}
    share = percent(Decimal(result.right) / result.checked)
    sentence = (
        f"Right for {result.right:,} of {plural(result.checked, 'customer')} drawn at random and "
        f"checked by hand since {result.since}: {share}."
    )
    if result.missed or result.wrong:
        parts = [
            f"{count} {word}"
            for count, word in ((result.missed, "with a leak missed"), (result.wrong, "wrong"))
            if count
        ]
        sentence += f" {' and '.join(parts)}."
    without = result.checked - result.checked_found
    rows = [
        ("With findings", result.checked_found, result.right_found),
        ("Without findings", without, result.right - result.right_found),
    ]
    return {
        "sentence": f"{sentence} {waiting}".strip(),
        "rows": [(name, f"{checked:,}", f"{right:,}") for name, checked, right in rows],
    }
