"""Reads one YAML file strictly and turns validation errors into messages a person can act on.

Knows nothing about what the keys mean; `settings.py` owns the models.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from leakage_pipeline.failures import ConfigurationError

_LONGEST_SHOWN_VALUE = 40
# Parts of an error's location that pydantic adds for its own use: the members of a union.
_UNION_MEMBERS = frozenset({"files", "sql", "a path", "a table"})

KeyPath: TypeAlias = tuple[str | int, ...]


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2 scalars: `off` and `no` stay words, `1.10` is exact, a date stays as written."""


def _without(tags: Iterable[str]) -> dict[str, list[tuple[str, Any]]]:
    dropped = {f"tag:yaml.org,2002:{tag}" for tag in tags}
    return {
        first: [(tag, regexp) for tag, regexp in resolvers if tag not in dropped]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_StrictLoader.yaml_implicit_resolvers = _without(("bool", "timestamp"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _exact_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal | float:
    text = str(node.value).replace("_", "")
    if re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", text):
        return Decimal(text)
    return float(loader.construct_yaml_float(node))


_StrictLoader.add_constructor("tag:yaml.org,2002:float", _exact_number)


def read_mapping(path: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file.

    Returns:
        The content, and the line (from 1) on which each key path stands.

    Raises:
        ConfigurationError: The file cannot be read, is no YAML, holds a key twice or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"{path}: cannot be read ({reason})"
        raise ConfigurationError(message) from error
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            message = (
                f"{path}: holds no settings; see leakage.yaml in the repository for an example"
            )
            raise ConfigurationError(message)
        lines: dict[KeyPath, int] = {}
        _note_lines(node, (), lines, path)
        content: dict[str, Any] = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{path}, line {line}: is no valid YAML ({error.problem})"
        raise ConfigurationError(message) from error
    finally:
        loader.dispose()
    return content, lines


def _note_lines(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                message = f"{path}, line {key_node.start_mark.line + 1}: a key must be plain text"
                raise ConfigurationError(message)
            key = (*at, str(key_node.value))
            line = key_node.start_mark.line + 1
            if key in lines:
                message = (
                    f"{path}, line {line}: {dotted(key)} stands twice "
                    f"(first in line {lines[key]}); remove one of the two"
                )
                raise ConfigurationError(message)
            lines[key] = line
            _note_lines(value_node, key, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value_node in enumerate(node.value):
            lines[(*at, index)] = value_node.start_mark.line + 1
            _note_lines(value_node, (*at, index), lines, path)


def dotted(location: KeyPath) -> str:
    """Write a key path the way people say it: `sources.usage[0].columns.meter`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def explain(
    error: ValidationError, path: Path, lines: Mapping[KeyPath, int], model: type[BaseModel]
) -> ConfigurationError:
    """Turn a validation error into one message, one line per problem, that never shows a secret.

    Args:
        error: What pydantic found.
        path: The file that was read.
        lines: Where each key stands, from `read_mapping`.
        model: The model of the whole file; its keys are what a misspelt key is compared with.
    """
    known = known_keys(model)
    problems = []
    for detail in error.errors(include_url=False):
        location = tuple(part for part in detail["loc"] if part not in _UNION_MEMBERS)
        line = lines.get(location) or lines.get(location[:-1])
        where = f"{path}, line {line}" if line else f"{path}"
        problems.append(f"{where}: {dotted(location)}: {_problem(detail, known)}")
    return ConfigurationError("\n".join(dict.fromkeys(problems)))


def known_keys(model: type[BaseModel]) -> list[str]:
    """Every key name that a model or one of the models inside it knows, sorted."""
    found: set[str] = set()
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        found |= set(part.get("properties", {}))
    return sorted(found)


def _problem(detail: ErrorDetails, known: list[str]) -> str:
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        return "unknown key; " + (f"did you mean {near[0]}?" if near else "remove it")
    if detail["type"] == "missing":
        return "is missing; add it"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text[:1].lower() + text[1:]
    value = detail["input"]
    # A URL pasted where the name of a variable belongs may hold a password.
    if name.endswith("url_env") or not isinstance(value, (str, int, Decimal)):
        return text
    shown = str(value)
    if len(shown) > _LONGEST_SHOWN_VALUE or "://" in shown:
        return text
    return f"{text} (found: {shown!r})"
