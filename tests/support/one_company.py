"""Several hand-written companies as one, so that one audit serves the tests of all of them.

Each keeps its customers, whose ids must differ; what the companies share (a plan's price, a coupon,
a row of the price book) must be the same in all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields

from tests.support.small_company import Json, SmallCompany

_FILES = {
    "contracts": ("contract_id",),
    "price_book": ("plan", "currency", "interval", "effective_from"),
    "accounts": ("account_id", "updated_at"),
    "exceptions": ("exception_id",),
    "fx_rates": ("rate_date", "from_currency", "to_currency"),
}
# A customer, a subscription or an invoice is somebody's own; the catalogue may be shared.
_SHARED = frozenset({"products", "prices", "inline_prices", "coupons", "meters"})


def merge(companies: Sequence[SmallCompany]) -> SmallCompany:
    """One company with everything of all of them.

    Raises:
        ValueError: Two of them mean something else by the same id or key, or by a setting.
    """
    one = SmallCompany(as_of=companies[0].as_of)
    for index, company in enumerate(companies):
        if company.as_of != one.as_of or company.policy != companies[0].policy:
            message = "one audit has one as_of and one policy"
            raise ValueError(message)
        one.policy = company.policy
        for kind in (item.name for item in fields(one.account)):
            objects = getattr(company.account, kind)
            if kind == "meter_events":
                objects = [
                    {**event, "identifier": f"{index}_{event['identifier']}"} for event in objects
                ]
                one.account.meter_events += objects
                continue
            _add(getattr(one.account, kind), objects, ("id",), shared=kind in _SHARED)
        for name, key in _FILES.items():
            _add(getattr(one, name), getattr(company, name), key, shared=name == "price_book")
        one.events += [
            {**event, "event_id": f"{index}_{event['event_id']}"} for event in company.events
        ]
        one.meters |= company.meters
    return one


def _add(into: list[Json], added: Iterable[Json], key: tuple[str, ...], *, shared: bool) -> None:
    known = {tuple(found[part] for part in key): found for found in into}
    for item in added:
        place = tuple(item[part] for part in key)
        if place not in known:
            known[place] = item
            into.append(item)
        elif not shared or known[place] != item:
            message = f"{place} stands in two companies"
            raise ValueError(message)
