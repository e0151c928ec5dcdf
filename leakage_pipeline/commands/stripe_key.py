"""What `leakage doctor` says of the Stripe key beyond what it must be able to read: is it too wide?

Whether a key may write can only be learnt by trying. So this sends changes of objects that cannot
exist: Stripe refuses them for want of permission, or because there is no such object, and changes
nothing either way. No other command sends anything but reads.
"""

from collections.abc import Iterator

import stripe

from leakage_pipeline.failures import PermanentFailure, TransientFailure
from leakage_pipeline.settings import Settings
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.errors import EndpointForbidden, EndpointMissing
from leakage_pipeline.stripe_billing.objects import STRIPE_VERSION, StripeObject
from leakage_pipeline.stripe_billing.transport import proxy_for

_NOBODY = "leakage_doctor_asks_about_nothing"
_FORBIDDEN, _MISSING = 403, 404
# What an audit never reads.
_NEEDLESS = (
    StripeObject("balance", "/v1/balance", "Balance (rak_balance_read)"),
    StripeObject("payouts", "/v1/payouts", "Payouts (rak_payout_read)"),
    StripeObject("files", "/v1/files", "Files (rak_file_read)"),
    StripeObject("transfers", "/v1/transfers", "Transfers (rak_transfer_read)"),
)
_WRITES = {
    "/v1/customers": "Customers (rak_customer_write)",
    "/v1/subscriptions": "Subscriptions (rak_subscription_write)",
    "/v1/invoices": "Invoices (rak_invoice_write)",
    "/v1/credit_notes": "Credit notes (rak_credit_note_write)",
    "/v1/prices": "Prices (rak_plan_write)",
    "/v1/coupons": "Coupons (rak_coupon_write)",
    "/v1/charges": "Charges and refunds (rak_charge_write)",
}


def too_wide(settings: Settings, reader: StripeReader) -> Iterator[str]:
    """Sentences about permissions that the read-only key has and does not need.

    Args:
        settings: The key and the address.
        reader: Access with that key.
    """
    key = settings.stripe_key().get_secret_value()
    if key.startswith("sk_"):
        yield (
            "STRIPE_API_KEY is a full secret key, which may do anything; a restricted key with "
            "read access is enough"
        )
        return
    reads = [target.permission for target in _NEEDLESS if _may_read(reader, target)]
    if reads:
        yield f"STRIPE_API_KEY may read what no audit reads; take away {', '.join(reads)}"
    writes = [name for path, name in _WRITES.items() if _may_write(key, reader.base_url, path)]
    if writes:
        yield f"STRIPE_API_KEY may write, and reading is enough; take away {', '.join(writes)}"


def _may_read(reader: StripeReader, target: StripeObject) -> bool:
    params = {} if target.name == "balance" else {"limit": 1}
    try:
        reader.get(target, target.path, params)
    except (EndpointForbidden, EndpointMissing, PermanentFailure, TransientFailure):
        return False
    return True


def _may_write(key: str, base_url: str, path: str) -> bool:
    stripe.enable_telemetry = False
    client = stripe.StripeClient(
        key,
        stripe_version=STRIPE_VERSION,
        base_addresses={"api": base_url},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=10, proxy=proxy_for(base_url)),
    )
    try:
        client.raw_request("post", f"{path}/{_NOBODY}", metadata={"leakage_doctor": "1"})
    except stripe.StripeError as error:
        # Only that there is no such object tells that a change of one would have been allowed.
        return error.http_status == _MISSING and error.code == "resource_missing"
    return True
