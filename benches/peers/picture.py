"""The results as a picture: for each workload a dot a proxy, by how it compares with nginx."""

from math import log
from xml.sax.saxutils import escape

import proxies
import workloads
from report import COSTS, RATES, THEIRS

COLOURS = {
    "pilotlight": "#e4572e",
    "nginx": "#2e7d32",
    "haproxy": "#1f77b4",
    "envoy": "#8e44ad",
    "caddy": "#00a0b0",
    "pingora": "#8a6d3b",
}
LABELS, PANEL, GAP, ROW, TOP, BOTTOM = 210, 330, 40, 24, 64, 34
WIDTH = LABELS + 2 * PANEL + GAP + 30


class Panel:
    """One figure, on a logarithmic scale around nginx's."""

    def __init__(self, results, left, title, figure, names, ticks):
        self.results, self.left, self.title, self.figure, self.names = results, left, title, figure, names
        self.ticks = ticks

    def x(self, ratio):
        low, high = log(self.ticks[0]), log(self.ticks[-1])
        share = (log(ratio) - low) / (high - low)
        return self.left + PANEL * min(max(share, 0), 1)

    def draw(self, rows, height):
        yield text(self.left, TOP - 24, self.title, weight="bold")
        for tick in self.ticks:
            x = self.x(tick)
            strong = tick == 1
            yield (
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - BOTTOM}" '
                f'stroke="{"#666" if strong else "#ddd"}"/>'
            )
            yield text(x, TOP - 10, f"{tick:g}×", size=10, anchor="middle")
        for row, workload in enumerate(rows):
            if workload.name not in self.names:
                continue
            y = TOP + ROW * row + ROW / 2
            # pilotlight last, so that it lies on top.
            for proxy in reversed(proxies.ALL):
                ratio = self.results.ratio(workload.name, proxy.name, THEIRS, self.figure)
                if ratio:
                    size = 6 if proxy.name == "pilotlight" else 4.5
                    title = f"<title>{proxy.name}: {ratio:.2f}×</title>"
                    yield (
                        f'<circle cx="{self.x(ratio):.1f}" cy="{y:.1f}" r="{size}" '
                        f'fill="{COLOURS[proxy.name]}" fill-opacity="0.85">{title}</circle>'
                    )


def svg(results):
    rows = [it for it in workloads.ALL if it.name in results.samples]
    height = TOP + ROW * len(rows) + BOTTOM
    rate = [0.1, 0.25, 0.5, 1, 2, 4]
    cost = [0.25, 0.5, 1, 2, 4, 8]
    panels = [
        Panel(results, LABELS, "requests/s, of nginx's (more is better)", "rate", RATES, rate),
        Panel(results, LABELS + PANEL + GAP, "CPU a request, of nginx's (less is better)", "cpu", COSTS, cost),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for row, workload in enumerate(rows):
        y = TOP + ROW * row
        if row % 2 == 0:
            parts.append(f'<rect x="0" y="{y}" width="{WIDTH}" height="{ROW}" fill="#f6f6f6"/>')
        parts.append(text(LABELS - 14, y + ROW / 2 + 4, workload.title, anchor="end"))
    for panel in panels:
        parts += panel.draw(rows, height)
    x = LABELS
    for name, colour in COLOURS.items():
        parts.append(f'<circle cx="{x}" cy="{height - 14}" r="5" fill="{colour}"/>')
        parts.append(text(x + 9, height - 10, name))
        x += 100
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def text(x, y, words, size=12, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )
