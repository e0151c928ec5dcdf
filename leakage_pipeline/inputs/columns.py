"""Finds our columns in a source's header, whatever its order, case, blanks or byte-order mark.

The one place that decides whether a header is good enough; its messages name what was found.
"""

from collections.abc import Iterable, Mapping, Sequence

from leakage_pipeline.failures import ConfigurationError


def match(
    wanted: Mapping[str, str], required: Iterable[str], found: Sequence[str], where: str
) -> dict[str, int]:
    """Find the position of each wanted column.

    An exact name wins over one that differs in case, blanks, hyphens or a byte-order mark.

    Args:
        wanted: Our name to the source's name.
        required: Which of our names must be there.
        found: The source's column names in order.
        where: What to begin a message with: configuration file, key and source.

    Returns:
        Our name to the column's position, for those that are there.

    Raises:
        ConfigurationError: A required column is missing, or a column could be either of two.
    """
    positions: dict[str, int] = {}
    for ours, theirs in wanted.items():
        exact = [index for index, name in enumerate(found) if name == theirs]
        alike = exact or [
            index for index, name in enumerate(found) if _plain(name) == _plain(theirs)
        ]
        if len(alike) > 1:
            message = f"{where}: the column {theirs} stands twice in the header; rename one of them"
            raise ConfigurationError(message)
        if alike:
            positions[ours] = alike[0]
    missing = [wanted[ours] for ours in required if ours not in positions]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        message = (
            f"{where}: has no {noun} {', '.join(missing)}; add it or correct the header "
            f"(found: {', '.join(name.strip() for name in found) or 'nothing'})"
        )
        raise ConfigurationError(message)
    return positions


def _plain(name: str) -> str:
    return name.strip("\ufeff \t\r\n\"'").lower().replace(" ", "_").replace("-", "_")
