"""What a run may spend on model calls: a number of calls and a number of dollars, never exceeded.

A call reserves its worst case before it is made and gives back what it did not use. A call whose
answer was lost keeps its reservation: nobody knows whether it was charged.
"""

import threading
from dataclasses import dataclass
from decimal import Decimal

_MILLION = Decimal(1_000_000)
# Writing the cache for five minutes costs a quarter more than plain input, for an hour twice as
# much; reading it a tenth at most.
_CACHE_WRITE = Decimal("1.25")
_CACHE_WRITE_HOUR = Decimal(2)
_CACHE_READ = Decimal("0.1")
BATCH_SHARE = Decimal("0.5")
"""Message Batches cost half."""
# The output schema and the framing that the API adds to the input.
_OVERHEAD_TOKENS = 1500


@dataclass(frozen=True)
class ModelPrice:
    """US dollars per million tokens; `effort`: whether the model can be told to think less."""

    input: Decimal
    output: Decimal
    effort: bool = False


# Anthropic's price list of 2026-11, the longest prefix of a model's name first. Haiku 5.5 costs
# more from 100,000 tokens on, which no question of ours reaches.
PRICES: dict[str, ModelPrice] = {
    "claude-haiku-5": ModelPrice(Decimal("0.10"), Decimal("0.50"), effort=True),
    "claude-haiku": ModelPrice(Decimal(1), Decimal(5)),
    "claude-sonnet-5": ModelPrice(Decimal(2), Decimal(10), effort=True),
    "claude-sonnet": ModelPrice(Decimal(3), Decimal(15)),
    "claude-opus-5-5": ModelPrice(Decimal(4), Decimal(20), effort=True),
    "claude-opus-5": ModelPrice(Decimal(5), Decimal(25), effort=True),
    **dict.fromkeys(
        ("claude-opus-4-5", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8"),
        ModelPrice(Decimal(5), Decimal(25)),
    ),
    "claude-opus": ModelPrice(Decimal(15), Decimal(75)),
    "claude-fable": ModelPrice(Decimal(10), Decimal(50), effort=True),
    "claude-mythos": ModelPrice(Decimal(10), Decimal(50), effort=True),
}
UNKNOWN_MODEL = PRICES["claude-opus"]
"""A model that is not in the list is reckoned at the dearest price, so that the cap still holds."""


@dataclass(frozen=True)
class TokenUse:
    """Tokens that one call used, as the API reports them; `cache_write` includes its hour part."""

    input: int
    output: int
    cache_write: int = 0
    cache_read: int = 0
    cache_write_hour: int = 0


def price_of(model: str) -> ModelPrice:
    """Return the price of a model by the beginning of its name."""
    for family, price in PRICES.items():
        if model.startswith(family):
            return price
    return UNKNOWN_MODEL


def cost(use: TokenUse, price: ModelPrice, *, batch: bool = False) -> Decimal:
    """Return the dollars that a call cost."""
    input_tokens = (
        use.input
        + (use.cache_write - use.cache_write_hour) * _CACHE_WRITE
        + use.cache_write_hour * _CACHE_WRITE_HOUR
        + use.cache_read * _CACHE_READ
    )
    dollars = (input_tokens * price.input + use.output * price.output) / _MILLION
    return dollars * BATCH_SHARE if batch else dollars


def worst_case(
    prompt_bytes: int, max_output_tokens: int, price: ModelPrice, *, batch: bool = False
) -> Decimal:
    """Return the most that a call can cost: a token is at least one byte of the prompt."""
    write = _CACHE_WRITE_HOUR if batch else _CACHE_WRITE
    input_tokens = (prompt_bytes + _OVERHEAD_TOKENS) * write
    dollars = (input_tokens * price.input + max_output_tokens * price.output) / _MILLION
    return dollars * BATCH_SHARE if batch else dollars


class Budget:
    """Counts calls and dollars across threads."""

    def __init__(self, max_calls: int, max_dollars: Decimal) -> None:
        self._calls_left = max_calls
        self._dollars_left = max_dollars
        self._spent = Decimal(0)
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def spent(self) -> Decimal:
        """Dollars spent so far, worst cases still open included."""
        return self._spent

    @property
    def calls(self) -> int:
        """Calls made so far."""
        return self._calls

    def reserve(self, dollars: Decimal) -> bool:
        """Take a call and its worst case out of the budget; False when it does not fit."""
        with self._lock:
            if self._calls_left < 1 or dollars > self._dollars_left:
                return False
            self._calls_left -= 1
            self._dollars_left -= dollars
            self._calls += 1
            self._spent += dollars
            return True

    def settle(self, reserved: Decimal, actual: Decimal) -> None:
        """Replace a reservation by what the call really cost."""
        with self._lock:
            self._dollars_left += reserved - actual
            self._spent += actual - reserved
