from datetime import UTC, datetime

import pytest
import stripe

from leakage_pipeline.stripe_billing.errors import explain

URL = "https://api.stripe.com/v1/customers"
NOW = datetime(2026, 6, 15, 6, 0, tzinfo=UTC)


def _limited(**headers: str) -> stripe.RateLimitError:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return stripe.RateLimitError("slow down", http_status=429, headers=named)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("Mon, 15 Jun 2026 06:00:07 GMT", 7.0),
        ("Mon, 15 Jun 2026 05:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert explain(_limited(Retry_After=header), URL, NOW).retry_after == seconds


@pytest.mark.parametrize(
    ("reason", "account_wide"),
    [
        ("global-rate", True),
        ("global-concurrency", True),
        ("endpoint-rate", False),
        ("endpoint-concurrency", False),
        ("resource-specific", False),
    ],
)
def test_only_limits_of_the_account_hold_everyone_back(reason: str, account_wide: bool) -> None:
    refusal = explain(_limited(Stripe_Rate_Limited_Reason=reason), URL)
    assert refusal.retry
    assert refusal.account_wide is account_wide
    assert reason in refusal.message


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("CERTIFICATE_VERIFY_FAILED: self-signed", False),
        ("Invalid URL 'nonsense'", False),
        ("Connection refused", True),
        ("Read timed out.", True),
        ("IncompleteRead(10 bytes read)", True),
    ],
)
def test_a_broken_connection_is_worth_another_try_unless_it_will_stay_so(
    text: str, retry: bool
) -> None:
    refusal = explain(stripe.APIConnectionError(f"trouble\n\n({text})"), URL)
    assert refusal.retry is retry
    assert not refusal.reached
    assert "\n" not in refusal.message


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_statuses_that_pass_by_themselves_are_tried_again(status: int) -> None:
    assert explain(stripe.APIError("no", http_status=status, headers={}), URL).retry


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_statuses_that_stay_are_not(status: int) -> None:
    assert not explain(stripe.APIError("no", http_status=status, headers={}), URL).retry
