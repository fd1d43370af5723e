"""Pictures as SVG: bars, and curves on two logarithmic axes: a straight line is a power, which its slope tells."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 860, 460
LEFT, TOP, RIGHT, BOTTOM = 70, 30, 330, 50
COLOURS = ("#0969da", "#1f2328", "#1a7f37", "#bc4c00", "#8250df", "#cf222e", "#bf3989", "#57606a")
BARS_LEFT, THICK, APART = 150, 9, 14
STEPS = (1, 2, 5)

Points = Sequence[tuple[float, float]]


class Axis:
    """From the values of one direction to places on the picture."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        """Take all values that must have a place, and where the axis begins and ends."""
        self.low, self.high = math.log10(min(values) / 1.2), math.log10(max(values) * 1.2)
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        """Say where a value is."""
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """Go through 1, 2, 5, 10, ... as far as they are on the axis."""
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            yield from (tick for step in STEPS if self.low <= math.log10(tick := step * 10.0**power) <= self.high)


def svg(title: str, across: str, up: str, curves: Mapping[str, Points]) -> str:
    """Draw curves by their names."""
    points = [point for curve in curves.values() for point in curve]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    parts = [
        *_frame(title, HEIGHT),
        *_grid(x, y),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="14" y="{TOP - 12}">{escape(up)}</text>',
    ]
    for number, (name, curve) in enumerate(curves.items()):
        parts += _curve(name, [(x.place(a), y.place(b)) for a, b in curve], number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(title: str, height: int) -> list[str]:
    return [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="system-ui, sans-serif" font-size="12">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]


def bars(title: str, groups: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Draw the median of each series as a bar, group by group, with a line from the lowest value to the highest."""
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    colours = dict(zip(series, COLOURS, strict=False))
    largest = max(1.0, *(value for group in groups.values() for values in group.values() for value in values))
    height = TOP + sum(THICK * len(group) + APART for group in groups.values()) + BOTTOM
    scale = (WIDTH - RIGHT - BARS_LEFT) / largest
    parts = [
        *_frame(title, height),
        f'<text x="14" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>',
        *_scale(largest, scale, height),
    ]
    y = TOP
    for name, group in groups.items():
        middle, right = y + THICK * len(group) / 2, BARS_LEFT - 8
        parts.append(
            f'<text x="{right}" y="{middle}" text-anchor="end" dominant-baseline="middle">{escape(name)}</text>'
        )
        for number, (label, values) in enumerate(group.items()):
            parts += _bar(y + THICK * number, values, scale, colours[label])
        y += THICK * len(group) + APART
    for number, label in enumerate(series):
        beside, row = WIDTH - RIGHT + 20, TOP + 8 + 24 * number
        parts.append(f'<rect x="{beside}" y="{row - 6}" width="24" height="12" fill="{colours[label]}"/>')
        parts.append(f'<text x="{beside + 32}" y="{row}" dominant-baseline="middle">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _scale(largest: float, scale: float, height: int) -> Iterator[str]:
    step = 10.0 ** math.floor(math.log10(largest)) / 2
    for tick in range(math.floor(largest / step) + 1):
        at = f"{BARS_LEFT + tick * step * scale:.1f}"
        yield f'<line x1="{at}" y1="{TOP}" x2="{at}" y2="{height - BOTTOM}" stroke="#d0d7de"/>'
        yield f'<text x="{at}" y="{height - BOTTOM + 18}" text-anchor="middle">{tick * step:g}</text>'


def _bar(y: int, values: Sequence[float], scale: float, colour: str) -> Iterator[str]:
    low, median, high = (of(values) * scale for of in (min, statistics.median, max))
    across = y + (THICK - 1) / 2
    yield f'<rect x="{BARS_LEFT}" y="{y}" width="{median:.1f}" height="{THICK - 1}" fill="{colour}"/>'
    yield (
        f'<line x1="{BARS_LEFT + low:.1f}" y1="{across}" x2="{BARS_LEFT + high:.1f}" y2="{across}" stroke="#cf222e"/>'
    )


def _grid(x: Axis, y: Axis) -> Iterator[str]:
    line = '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="#d0d7de"/>'
    for tick in x.ticks():
        at = f"{x.place(tick):.1f}"
        yield line.format(at, TOP, at, HEIGHT - BOTTOM)
        yield f'<text x="{at}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,g}</text>'
    for tick in y.ticks():
        at = f"{y.place(tick):.1f}"
        yield line.format(LEFT, at, WIDTH - RIGHT, at)
        yield f'<text x="{LEFT - 8}" y="{at}" text-anchor="end" dominant-baseline="middle">{tick:g}</text>'


def _curve(name: str, places: Points, number: int) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    dashes = ' stroke-dasharray="6 4"' if number >= len(COLOURS) else ""
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
    yield from (f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in places)
    beside, row = WIDTH - RIGHT + 20, TOP + 8 + 24 * number
    yield f'<line x1="{beside}" y1="{row}" x2="{beside + 24}" y2="{row}" stroke="{colour}" stroke-width="2"{dashes}/>'
    yield f'<text x="{beside + 32}" y="{row}" dominant-baseline="middle">{escape(name)}</text>'
