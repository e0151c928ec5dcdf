"""Request parameters: Stripe's bracket notation in, checked values out.

Knows nothing of any endpoint; who accepts which parameter is written in `resources` and `meters`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from leakage_pipeline.simulator.stripe_server.errors import bad_request, missing_param

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_EXPAND_LEVELS = 4
PAGING = frozenset({"limit", "starting_after", "ending_before", "expand"})
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_RANGE_KEYS = frozenset({"gt", "gte", "lt", "lte"})


def parse(encoded: str) -> dict[str, Any]:
    """`a[b]=1&expand[]=x` becomes `{"a": {"b": "1"}, "expand": ["x"]}`."""
    nested: dict[str, Any] = {}
    for key, value in parse_qsl(encoded, keep_blank_values=True):
        name, _, _ = key.partition("[")
        path = [name, *_BRACKETS.findall(key)]
        _insert(nested, path, value)
    return {name: _lists(value) for name, value in nested.items()}


def _insert(into: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        child = into.setdefault(part, {})
        if not isinstance(child, dict):
            raise bad_request(message=f"Invalid {path[0]}", param=path[0])
        into = child
    last = path[-1]
    into[str(len(into)) if last == "" else last] = value


def _lists(value: Any) -> Any:
    """A level whose keys are all numbers (`expand[]`, `expand[0]`) is a list."""
    if not isinstance(value, dict):
        return value
    if all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(child) for key, child in value.items()}


def refuse_unknown(params: Mapping[str, Any], accepted: Iterable[str]) -> None:
    """Raises Stripe's `parameter_unknown` for the first parameter that is not accepted."""
    known = set(accepted)
    for name in params:
        if name not in known:
            message = f"Received unknown parameter: {name}"
            raise bad_request(message=message, param=name, code="parameter_unknown")


def integer(name: str, value: Any) -> int:
    """A whole number, or Stripe's `parameter_invalid_integer`."""
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,18}", value):
        message = f"Invalid integer: {value}"
        raise bad_request(message=message, param=name, code="parameter_invalid_integer")
    return int(value)


def boolean(name: str, value: Any) -> bool:
    """`true` or `false`."""
    if value not in {"true", "false"}:
        raise bad_request(message=f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def text(name: str, value: Any) -> str:
    """A plain, non-empty value."""
    if not isinstance(value, str):
        raise bad_request(message=f"Invalid string: {value}", param=name)
    if not value:
        message = f"You passed an empty string for '{name}'. We assume empty values are an attempt"
        raise bad_request(
            message=f"{message} to unset a parameter; however '{name}' cannot be unset.",
            param=name,
            code="parameter_invalid_empty",
        )
    return value


def required(params: Mapping[str, Any], name: str) -> str:
    """A parameter that must be there."""
    if name not in params:
        raise missing_param(param=name)
    return text(name, params[name])


@dataclass(frozen=True)
class Span:
    """Whole seconds, both ends inside; None is open."""

    first: int | None = None
    last: int | None = None

    def holds(self, instant: int | None) -> bool:
        """Whether the instant lies inside; a missing instant lies in no span."""
        if instant is None:
            return False
        return (self.first is None or instant >= self.first) and (
            self.last is None or instant <= self.last
        )


def span(name: str, value: Any) -> Span:
    """`created=5`, or `created[gt|gte|lt|lte]=5` in any combination."""
    if isinstance(value, str):
        exact = integer(name, value)
        return Span(exact, exact)
    if not isinstance(value, dict):
        raise bad_request(message=f"Invalid {name}", param=name)
    for key in value:
        if key not in _RANGE_KEYS:
            message = f"Received unknown parameter: {name}[{key}]"
            raise bad_request(message=message, param=f"{name}[{key}]", code="parameter_unknown")
    bounds = {key: integer(f"{name}[{key}]", bound) for key, bound in value.items()}
    lower = [bounds[key] + (key == "gt") for key in ("gt", "gte") if key in bounds]
    upper = [bounds[key] - (key == "lt") for key in ("lt", "lte") if key in bounds]
    return Span(max(lower, default=None), min(upper, default=None))


@dataclass(frozen=True)
class Paging:
    """Which page of a list is asked for."""

    limit: int
    starting_after: str | None
    ending_before: str | None


def paging(params: Mapping[str, Any]) -> Paging:
    """The page parameters, checked: limit 1 to 100, one cursor at most."""
    limit = integer("limit", params.get("limit", str(DEFAULT_LIMIT)))
    wrong = None
    if limit < 1:
        wrong = "This value must be greater than or equal to 1."
    elif limit > MAX_LIMIT:
        wrong = f"This value must be less than or equal to {MAX_LIMIT} (it currently is '{limit}')."
    if wrong:
        raise bad_request(message=wrong, param="limit", code="parameter_invalid_integer")
    after, before = (
        text(name, params[name]) if name in params else None
        for name in ("starting_after", "ending_before")
    )
    if after is not None and before is not None:
        raise bad_request(
            message="You cannot parameterize by both starting_after and ending_before."
        )
    return Paging(limit, after, before)


def expand_tree(params: Mapping[str, Any]) -> dict[str, Any]:
    """`expand[]` paths as a tree: `data.lines.data.discounts` is four levels, the most allowed."""
    paths = params.get("expand", [])
    if not isinstance(paths, list):
        raise bad_request(message="Invalid array", param="expand")
    tree: dict[str, Any] = {}
    for path in paths:
        levels = text("expand", path).split(".")
        if len(levels) > MAX_EXPAND_LEVELS:
            message = f"You cannot expand more than {MAX_EXPAND_LEVELS} levels of a property."
            raise bad_request(message=f"{message} Property: {path}", param="expand")
        branch = tree
        for level in levels:
            branch = branch.setdefault(level, {})
    return tree
