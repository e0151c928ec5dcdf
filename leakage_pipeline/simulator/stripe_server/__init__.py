"""A Stripe-compatible HTTP server on loopback, faithful in what an audit of billing reads.

Lists with cursors and filters, expand, hidden fields and cut embedded lists, keys and permissions,
idempotency, meter events and their summaries, faults on demand. It creates no billing objects.
"""

from leakage_pipeline.simulator.stripe_server.app import RequestRecord
from leakage_pipeline.simulator.stripe_server.faults import Faults, ScriptedFault
from leakage_pipeline.simulator.stripe_server.keys import DEFAULT_API_KEY, ApiKey
from leakage_pipeline.simulator.stripe_server.meters import MeterError
from leakage_pipeline.simulator.stripe_server.server import StripeServer

__all__ = [
    "DEFAULT_API_KEY",
    "ApiKey",
    "Faults",
    "MeterError",
    "RequestRecord",
    "ScriptedFault",
    "StripeServer",
]
