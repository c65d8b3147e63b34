"""Elements of SVG as text, with everything escaped."""

from __future__ import annotations

from collections.abc import Mapping

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})


def element(name: str, attributes: Mapping[str, object], inside: str = "") -> str:
    """An element; ``inside`` is markup already."""
    message = "".join(f' {key}="{written(str(value))}"' for key, value in attributes.items())
    return f"<{name}{message}>{inside}</{name}>" if inside else f"<{name}{message}/>"


def written(text: str) -> str:
    """A text as it stands in an element or an attribute."""
    return text.translate(_ENTITIES)


def number(value: float) -> str:
    """``12`` and ``12.5``: no more digits than anybody sees."""
    return f"{value:.1f}".removesuffix(".0")
