"""Charts of the report as inline SVG: the bridge as a waterfall, and twelve weeks of leaks.

Drawn with matplotlib's SVG backend, text kept as text, without dates or random ids, so that equal
numbers give equal bytes. Only here does money become a float: as the height of a bar.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from leakage_pipeline.classification.wording import MINUS, money

INK = "#1f2a37"
MUTED = "#5b6675"
RULE = "#d9dee5"
TOTAL = "#3d4f63"
LEAK = "#b4532a"
LEAK_SOFT = "#e2b59c"
OVER = "#2b6c94"
OVER_SOFT = "#a9c8dc"

_RC: Any = {
    "svg.hashsalt": "leakage-report",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    # A dollar sign is money here, not the start of a formula.
    "text.parse_math": False,
}
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
# Below this share of the whole, steps drawn from zero are too thin to see: the axis is cut.
_CUT_BELOW = Decimal("0.35")
_WIDTH = 9.0
_MAIL_DPI = 120
# With fewer bars they are narrower, or two bars would fill the page.
_BARS_AT_FULL_WIDTH = 6


@dataclass(frozen=True)
class Step:
    """One bar of the waterfall: positive lowers what was billed, negative raises it."""

    label: str
    amount: Decimal


@dataclass(frozen=True)
class WeekPoint:
    """Sums of one ISO week, all positive: leaks and overbilling, measured and estimated."""

    label: str
    leak_measured: Decimal
    leak_estimated: Decimal
    over_measured: Decimal
    over_estimated: Decimal


@dataclass(frozen=True)
class Waterfall:
    """A drawn bridge."""

    svg: str
    png: bytes
    """The same for mail readers, which leave out SVG."""
    is_cut: bool
    """Whether the bars start above zero, which the caption has to say."""


def waterfall(
    chart_id: str,
    currency: str,
    expected: Decimal,
    billed: Decimal,
    steps: Sequence[Step],
    height: float = 2.9,
) -> Waterfall:
    """Draw expected, each step that is not zero, and billed, so that the bars add up.

    Args:
        chart_id: Unique in the page; becomes the prefix of every id in the SVG.
        currency: For the labels.
        expected: What should have been billed.
        billed: What was billed: expected less the steps.
        steps: In the order of the bridge.
        height: In inches, of a width of nine.
    """
    shown = [step for step in steps if step.amount != 0]
    levels = [expected]
    for step in shown:
        levels.append(levels[-1] - step.amount)
    low, high = min([*levels, billed]), max([*levels, billed])
    is_cut = high > 0 and low > 0 and high - low < high * _CUT_BELOW
    base = max(Decimal(0), low - (high - low) * Decimal("0.9")) if is_cut and high > low else None
    with _own_style():
        figure, axes = _axes(height)
        width = 0.6 * min(1.0, (len(shown) + 2) / _BARS_AT_FULL_WIDTH)
        _draw_steps(axes, shown, levels, currency, width)
        floor = base if base is not None else min(Decimal(0), low)
        _draw_total(axes, (0, expected), floor, currency, width)
        _draw_total(axes, (len(shown) + 1, billed), floor, currency, width)
        span = (high - floor) or Decimal(1)
        axes.set_ylim(float(floor), float(high + span * Decimal("0.16")))
        _label_steps(axes, ["Expected", *(step.label for step in shown), "Billed"])
        if base is not None:
            for position in (0, len(shown) + 1):
                _break_mark(axes, position, floor, span, width)
        svg, png = _svg(figure, chart_id), _png(figure)
    return Waterfall(svg, png, is_cut=base is not None)


def trend(chart_id: str, currency: str, weeks: Sequence[WeekPoint], height: float = 2.5) -> str:
    """Draw leaks upwards and overbilling downwards, week by week, estimated parts lighter."""
    with _own_style():
        figure, axes = _axes(height)
        places = range(len(weeks))
        layers = (
            ([week.leak_measured for week in weeks], None, LEAK),
            ([week.leak_estimated for week in weeks], [w.leak_measured for w in weeks], LEAK_SOFT),
            ([-week.over_measured for week in weeks], None, OVER),
            (
                [-week.over_estimated for week in weeks],
                [-w.over_measured for w in weeks],
                OVER_SOFT,
            ),
        )
        for heights, bottoms, colour in layers:
            axes.bar(
                places,
                [float(height) for height in heights],
                bottom=[float(bottom) for bottom in bottoms] if bottoms else 0.0,
                width=0.62,
                color=colour,
                linewidth=0,
            )
        axes.set_xticks(list(places), [week.label for week in weeks])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, min_n_ticks=3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _compact(value, currency)))
        axes.tick_params(axis="y", colors=MUTED, length=0, pad=4)
        axes.set_ylim(*_limits(weeks))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.spines["bottom"].set_visible(False)
        return _svg(figure, chart_id)


def _limits(weeks: Sequence[WeekPoint]) -> tuple[float, float]:
    """Leave a tenth above the highest bar, and below the lowest if any hangs down."""
    top = max((week.leak_measured + week.leak_estimated for week in weeks), default=Decimal(0))
    bottom = max((week.over_measured + week.over_estimated for week in weeks), default=Decimal(0))
    reach = max(top, bottom) / 10 or Decimal(1)
    return (-float(bottom + reach) if bottom else 0.0, float(top + reach))


@contextmanager
def _own_style() -> Iterator[None]:
    """Draw with matplotlib's defaults and ours, whatever the user's own style file says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), facecolor="none")
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.075, 0.13, 0.92, 0.84))
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(axis="x", colors=MUTED, length=0, pad=5)
    return figure, axes


def _draw_steps(
    axes: Axes, steps: Sequence[Step], levels: Sequence[Decimal], currency: str, width: float
) -> None:
    for place, step in enumerate(steps, start=1):
        before, after = levels[place - 1], levels[place]
        colour = LEAK if step.amount > 0 else OVER
        bottom = min(before, after)
        axes.bar(place, float(abs(step.amount)), bottom=float(bottom), width=width, color=colour)
        axes.plot(
            [place - 1 + width / 2, place + width / 2],
            [float(before)] * 2,
            color=MUTED,
            linewidth=0.6,
            linestyle=(0, (2, 2)),
            zorder=0,
        )
        _value(axes, place, max(before, after), money(-step.amount, currency, sign=True), colour)
    if steps:
        end = float(levels[-1])
        place = len(steps)
        reach = [place + width / 2, place + 1 + width / 2]
        axes.plot(reach, [end] * 2, color=MUTED, linewidth=0.6, zorder=0)


def _draw_total(
    axes: Axes, bar: tuple[int, Decimal], floor: Decimal, currency: str, width: float
) -> None:
    place, amount = bar
    height = float(amount - max(floor, Decimal(0)) if amount > 0 else amount)
    bottom = float(max(floor, Decimal(0)))
    axes.bar(place, height, bottom=bottom, width=width, color=TOTAL, linewidth=0)
    _value(axes, place, amount, money(amount, currency), INK)


def _value(axes: Axes, place: int, height: Decimal, text: str, colour: str) -> None:
    axes.annotate(
        text,
        (place, float(height)),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
    )


def _label_steps(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_yticks([])
    for label in (axes.get_xticklabels()[0], axes.get_xticklabels()[-1]):
        label.set_color(INK)


def _break_mark(axes: Axes, place: int, floor: Decimal, span: Decimal, width: float) -> None:
    """Cut a bar visibly where the axis does not start at zero."""
    middle = float(floor + span * Decimal("0.10"))
    lift = float(span * Decimal("0.025"))
    for offset in (0.0, 2.2 * lift):
        axes.plot(
            [place + width * share for share in (-0.57, -0.19, 0.19, 0.57)],
            [middle + offset - lift, middle + offset + lift] * 2,
            color="#ffffff",
            linewidth=2.0,
            solid_capstyle="butt",
            zorder=5,
        )


def _compact(value: float, currency: str) -> str:
    """Write an axis label: whole currency units, thousands as k."""
    thousand, million = 1_000, 1_000_000
    size = abs(value)
    if size >= million:
        number, unit = f"{size / million:.3g}", "m"
    elif size >= thousand:
        number, unit = f"{size / thousand:.3g}", "k"
    else:
        number, unit = f"{size:.3g}", ""
    symbol = re.sub(r"[\d.,\s]", "", money(Decimal(0), currency))
    gap = "\N{NO-BREAK SPACE}" if symbol.isalpha() else ""
    return f"{MINUS if value < 0 else ''}{symbol}{gap}{number}{unit}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_MAIL_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure, chart_id: str) -> str:
    """Return the bare svg element, fit for a page that holds several of them."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    # The page's own font; its letters are narrower than those the layout was measured with.
    text = re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", text)
    # Ids are unique per chart only, and the page holds several charts.
    text = re.sub(r'\bid="([^"]+)"', rf'id="{chart_id}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{chart_id}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{chart_id}-\1)", text)
    text = text.replace('<style type="text/css">*{', f'<style type="text/css">#{chart_id} *{{')
    text = re.sub(
        r"<svg [^>]*?viewBox=\"([^\"]+)\"[^>]*>",
        rf'<svg id="{chart_id}" viewBox="\1" role="img" aria-hidden="true" class="chart"'
        r' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">',
        text,
        count=1,
    )
    return text.strip()
