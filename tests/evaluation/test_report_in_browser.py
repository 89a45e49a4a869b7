"""The report as people see it: a real headless Chromium, wide and narrow, light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation_samples import changed_report, evaluation
from harness.browser import browser
from rerank_plugin.evaluation.report import render
from rerank_plugin.evaluation.result import write_result

#: The lowest contrast between a text and what is behind it that WCAG 2 allows for text of normal size (level AA).
LEAST_CONTRAST = 4.5
#: What Chromium prints on: A4 at 96 dots per inch less its usual margins of 1 cm.
A4 = {"width": 718, "height": 1047}
#: Every visible text with its colour and the first opaque background behind it.
COLOURS = """() => {
  const seen = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.tagName === "title") continue;
    const style = getComputedStyle(element);
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const back = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
    const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    seen.push([element.tagName + " " + element.textContent.trim().slice(0, 30), ink, back]);
  }
  return seen;
}"""
#: Elements whose content is wider than they are and cannot be scrolled to.
CUT = """() => [...document.querySelectorAll("body *")].filter((each) => {
  if (each.closest("svg, .scroll, .track")) return false;
  return each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== "inline";
}).map((each) => each.tagName + " " + each.textContent.trim().slice(0, 40))"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    found = evaluation(queries=12)
    path = folder / "report.html"
    path.write_text(render(found, write_result(found, folder), command="rerank evaluate"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def unjudged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("changes") / "report.html"
    path.write_text(changed_report(), encoding="utf-8")
    return path


@pytest.fixture(params=["judged", "unjudged"])
def report(request: pytest.FixtureRequest) -> Path:
    """Both kinds of report."""
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as launched:
        yield launched


def opened(chromium: Any, report: Path, **options: Any) -> tuple[Any, list[str]]:
    """The page, and everything that went wrong or was fetched while it loaded."""
    page = chromium.new_context(**options).new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("request", lambda request: trouble.append(request.url) if request.url != report.as_uri() else None)
    page.goto(report.as_uri(), wait_until="load")
    return page, trouble


def luminance(colour: str) -> float:
    parts = [float(each) / 255 for each in colour.strip("rgba()").split(",")[:3]]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(ink: str, back: str) -> float:
    low, high = sorted((luminance(ink), luminance(back)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_without_a_word_of_trouble_and_every_text_can_be_read(chromium, report, scheme, width):
    page, trouble = opened(chromium, report, color_scheme=scheme, viewport={"width": width, "height": 900})
    assert trouble == []
    texts = page.evaluate(COLOURS)
    assert len(texts) > 100
    faint = [(text, ink, back) for text, ink, back in texts if contrast(ink, back) < LEAST_CONTRAST]
    assert faint == []
    background = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (background < 0.1) is (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CUT) == []
    page.close()


def test_it_prints_dark_on_white_even_from_a_dark_screen(chromium, report):
    page, _ = opened(chromium, report, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [text for text, ink, back in page.evaluate(COLOURS) if contrast(ink, back) < LEAST_CONTRAST] == []
    page.set_viewport_size(A4)
    assert page.evaluate("document.documentElement.scrollWidth") <= A4["width"]
    paper = page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert 2 <= paper.count(b"/Type /Page\n") <= 8
    page.close()


def test_everything_a_reader_came_for_can_be_seen(chromium, judged):
    page, _ = opened(chromium, judged)
    heads = page.locator("h2").all_inner_texts()
    assert heads == [
        "Arms",
        "Comparisons",
        "Query by query: rerank against bm25",
        "Side by side",
        "What the first ten are like",
        "Other settings",
        "Latency",
        "Run it again",
    ]
    assert page.locator("h1").is_visible()
    assert page.locator(".verdict").is_visible()
    for drawing in page.locator("svg").all():
        box = drawing.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 30
    assert page.locator("svg rect.up").count() == 11
    assert page.locator("svg rect.down").count() == 1
    assert page.locator(".pair").count() == 4 + 1
    assert page.locator("svg circle.bar").count() == 3 * 4
    bars = page.locator("ol.hits .track span")
    assert bars.count() > 0
    assert all(each.bounding_box()["width"] >= 0 for each in bars.all())
    page.close()
