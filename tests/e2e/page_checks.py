"""What every view of the page must satisfy at any size and in any colours: controls within reach, texts that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

LEAST_CONTRAST = 4.5
"""Of a text against what is behind it (WCAG 2.2, level AA)."""

SCRIPT = Path(__file__).with_suffix(".js").read_text()


def unreachable(page: Page) -> list[str]:
    """Return what is wrong with the place of controls: of the open dialog, else of the page."""
    problems: list[str] = page.evaluate(SCRIPT, "unreachable")
    return problems


def contrasts(page: Page) -> dict[str, float]:
    """Return the contrast of each text by its element: of the open dialog, else of the page."""
    values: list[list[Any]] = page.evaluate(SCRIPT, "contrasts")
    return {str(name): float(value) for value, name in sorted(values, reverse=True)}


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the view that is shown."""
    pale = [f"{name}: contrast {value:.2f}" for name, value in contrasts(page).items() if value < LEAST_CONTRAST]
    return unreachable(page) + pale
