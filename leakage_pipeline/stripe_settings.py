"""The part of leakage.yaml that says how Stripe is read: pace, increments, budget, webhooks.

Every key has a default; the address and the keys themselves stay in the environment.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookTable(_Model):
    """A table in which the product keeps the webhooks it received, one row each."""

    kind: Literal["sql"]
    url_env: _Variable
    table: _Text


WebhookPlace = Annotated[
    Annotated[_Text, Tag("a path")] | Annotated[WebhookTable, Tag("a table")],
    Discriminator(lambda value: "a path" if isinstance(value, str) else "a table"),
]


class WebhookSource(_Model):
    """Received webhooks, read every night besides the events that Stripe still has.

    Attributes:
        source: JSONL files (path, glob) or a table: `body`, `signature`, `received_at`.
        secret_env: Variable with the endpoint's signing secret; without it nothing is verified.
    """

    source: WebhookPlace
    secret_env: _Variable | None = None


class StripeAccess(_Model):
    """How the account is read.

    Attributes:
        incremental: Read what changed since the last audit instead of everything.
        full_load_days: After so many days everything is read again, so that nothing stays missed.
        requests_per_second: Highest rate; unset: 20, or 500 on a loopback address.
        concurrency: Requests in flight.
        monthly_read_budget: Reads in 30 days after which optional questions stop; unset: what
            Stripe grants, 500 a transaction and at least 10,000.
        webhooks: Where received webhooks are kept.
    """

    incremental: bool = True
    full_load_days: Annotated[int, Field(ge=1, le=28)] = 7
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=64)] = 6
    monthly_read_budget: Annotated[int, Field(ge=1)] | None = None
    webhooks: WebhookSource | None = None
