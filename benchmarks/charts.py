"""Charts of latency and growth, as SVG without scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

from benchmarks.flash_sale import FlashSale
from benchmarks.growth import Growth
from benchmarks.latency import Latency
from sandbox.shopify import BUCKET_SECONDS

STYLE = Style(  # pyright: ignore[reportUnknownVariableType]
    background="white",
    plot_background="white",
    font_family="sans-serif",
    colors=("#1f6feb", "#9ec5fe", "#8c959f", "#d0d7de"),
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    value_font_size=12,
    title_font_size=16,
    opacity="1",
)


def draw_latency(measured: Sequence[Latency], path: Path) -> None:
    """Draw median and 99th percentile of product and floor."""
    chart = _chart(
        pygal.Bar,
        title="Milliseconds until the answer",
        logarithmic=True,
        zero=10,
        range=(10, max(max(one.product.p99, one.floor.p99) for one in measured) * 1.5),
        # The default has ten labels per power of ten, which overlap.
        y_labels=(10, 30, 100, 300, 1_000, 3_000),
        value_formatter="{:.0f}".format,
        x_title="purchases in flight, milliseconds that Shopify takes",
    )
    chart.x_labels = [f"{one.in_flight}, {one.delay} ms" for one in measured]
    chart.add("Pointsaga, p50", [one.product.p50 for one in measured])
    chart.add("Pointsaga, p99", [one.product.p99 for one in measured])
    chart.add("floor, p50", [one.floor.p50 for one in measured])
    chart.add("floor, p99", [one.floor.p99 for one in measured])
    _write(chart, path)


def draw_growth(measured: Sequence[Growth], path: Path) -> None:
    """Draw ratios and limits."""
    chart = _chart(
        pygal.HorizontalBar,
        title="Grown value ÷ base",
        range=(0, max(2.2, *(one.ratio for one in measured))),
        value_formatter="{:.2f}".format,
        truncate_label=-1,
    )
    # The first bar is drawn at the bottom.
    rows = list(reversed(measured))
    chart.x_labels = [one.name for one in rows]
    chart.add("measured", [one.ratio for one in rows])
    chart.add("limit", [one.limit for one in rows])
    _write(chart, path)


def draw_flash_sale(measured: FlashSale, path: Path) -> None:
    """Draw how many purchases were accepted and served at each time, and what Shopify permits."""
    chart = _chart(
        pygal.XY,
        title="Purchases of a flash sale",
        x_title="seconds",
        dots_size=1,
        show_x_guides=False,
        range=(0, measured.cap * 1.05),
        print_values=False,
    )
    last = max(measured.served)
    full = BUCKET_SECONDS * measured.rate
    chart.add("accepted", _curve(measured.accepted))
    chart.add("served", _curve(measured.served))
    chart.add("Shopify's limit", [(0, full), (last, min(measured.cap, full + measured.rate * last))])
    _write(chart, path)


def _curve(times: Sequence[float]) -> list[tuple[float, int]]:
    """About a hundred points of the number of events until each time."""
    step = max(1, len(times) // 100)
    return [(round(one, 1), number) for number, one in enumerate(sorted(times), 1) if number % step == 0]


def _chart(kind: Any, **options: Any) -> Any:
    usual = {"width": 900, "height": 420, "legend_at_bottom": True, "print_values": True, "show_y_guides": False}
    return kind(style=STYLE, js=(), xml_filters=[], **{**usual, **options})


def _write(chart: Any, path: Path) -> None:
    chart.uuid = path.stem  # the default is random
    chart.add_xml_filter(_without_scripts)
    path.write_bytes(chart.render())


def _without_scripts(root: Any) -> Any:
    """The drawing without scripts and comments, of which one has the date."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag.endswith("script"):
                parent.remove(child)
    return root
