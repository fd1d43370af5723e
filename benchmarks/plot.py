"""A picture of curves on two logarithmic axes, as SVG: a straight line is a power, which its slope tells."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 860, 460
LEFT, TOP, RIGHT, BOTTOM = 70, 30, 330, 50
COLOURS = ("#0969da", "#1f2328", "#1a7f37", "#bc4c00", "#8250df", "#cf222e", "#bf3989", "#57606a")
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
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="12">'
        ),
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_grid(x, y),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(across)}</text>',
        f'<text x="14" y="{TOP - 12}">{escape(up)}</text>',
    ]
    for number, (name, curve) in enumerate(curves.items()):
        parts += _curve(name, [(x.place(a), y.place(b)) for a, b in curve], number)
    return "\n".join([*parts, "</svg>"]) + "\n"


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
