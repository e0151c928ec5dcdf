"""Writes a message from its template: Jinja in a sandbox, a company's own files before ours.

The tone rules and the variables stand in `templates/README.md`. A template sees formatted text
only; a name from outside is a value and never read as a template.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    select_autoescape,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from leakage_pipeline.failures import ConfigurationError

VARIABLES = frozenset(
    {"customer_name", "company", "plan", "meter", "period", "amount", "monthly_amount"}
)
"""What every finding has a text for."""
EVIDENCE = "evidence"
_SUFFIX = ".txt.j2"
_PART = "_"
_SUBJECT = "Subject:"


@dataclass(frozen=True)
class Message:
    """A message as text, ready to be read by the person who releases it."""

    subject: str
    body: str


class Messages:
    """The templates of a company: its own where it has them, else ours.

    Args:
        actions: The next actions that are messages.
        folder: The company's own templates, or None.

    Raises:
        ConfigurationError: The folder, a file's name, its syntax or a variable in it is wrong.
    """

    def __init__(self, actions: Iterable[str], folder: Path | None = None) -> None:
        loaders: list[BaseLoader] = [PackageLoader("leakage_pipeline.communication")]
        self._folder = folder
        self._actions = frozenset(actions)
        if folder is not None:
            if not folder.is_dir():
                message = f"policy.templates: {folder} is no folder"
                raise ConfigurationError(message)
            loaders.insert(0, FileSystemLoader(folder))
        self._environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader(loaders),
            undefined=StrictUndefined,
            # Text is read as text; a part that is HTML escapes what comes from outside.
            autoescape=select_autoescape(("html", "htm", "xml", "html.j2"), default=False),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._check_names()
        self._templates = {action: self._load(action + _SUFFIX) for action in self._actions}

    def write(
        self, action: str, values: Mapping[str, str], evidence: Mapping[str, str]
    ) -> Message | None:
        """Write the message of an action; None when the action is internal work.

        Args:
            action: The next action.
            values: A text for each of `VARIABLES`.
            evidence: The finding's own numbers, as text.

        Raises:
            ConfigurationError: The template names evidence that this finding does not have.
        """
        template = self._templates.get(action)
        if template is None:
            return None
        try:
            text = template.render({**values, EVIDENCE: dict(evidence)})
        except UndefinedError as error:
            message = (
                f"{template.filename}: {error.message}; evidence differs by finding, so ask with "
                "{% if evidence.name is defined %} first"
            )
            raise ConfigurationError(message) from None
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            message = f"{template.filename}: {type(error).__name__}: {error}"
            raise ConfigurationError(message) from None
        return _split(text, str(template.filename))

    def _check_names(self) -> None:
        if self._folder is None:
            return
        for path in sorted(self._folder.glob("*.j2")):
            if path.name.startswith(_PART):
                self._load(path.name)
                continue
            action = path.name.removesuffix(_SUFFIX)
            if action not in self._actions:
                near = difflib.get_close_matches(action, sorted(self._actions), n=1)
                hint = f"; did you mean {near[0]}{_SUFFIX}?" if near else ""
                message = f"{path}: no message is named so{hint}"
                raise ConfigurationError(message)

    def _load(self, name: str) -> Template:
        loader = self._environment.loader
        try:
            source, path, _ = loader.get_source(self._environment, name)  # type: ignore[union-attr]
            unknown = meta.find_undeclared_variables(self._environment.parse(source)) - (
                VARIABLES | {EVIDENCE}
            )
            template = self._environment.get_template(name)
        except TemplateSyntaxError as error:
            message = f"{error.filename or name}, line {error.lineno}: {error.message}"
            raise ConfigurationError(message) from None
        except (TemplateError, UnicodeDecodeError, OSError) as error:
            message = f"{name}: cannot be read as a template ({type(error).__name__}: {error})"
            raise ConfigurationError(message) from None
        if unknown:
            message = (
                f"{path}: there is no variable {', '.join(sorted(unknown))}; known are "
                f"{', '.join(sorted(VARIABLES | {EVIDENCE}))}"
            )
            raise ConfigurationError(message)
        if not name.startswith(_PART) and not source.startswith(_SUBJECT):
            message = f"{path}: the first line must be {_SUBJECT} and the message's subject"
            raise ConfigurationError(message)
        return template


def _split(text: str, path: str) -> Message:
    first, _, body = text.partition("\n")
    subject = " ".join(first.removeprefix(_SUBJECT).split())
    if not subject or not body.strip():
        message = f"{path}: the subject or the text is empty"
        raise ConfigurationError(message)
    return Message(subject, body.strip())
