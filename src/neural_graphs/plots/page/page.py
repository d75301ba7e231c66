"""A page as one HTML file: templates, style and script lie in `templates/` and are put into it."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from neural_graphs.plots.page.blocks import Section

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """Sections under a title; `lead` is what stands below it.

    The file asks for nothing outside itself, and the browser is told so: of scripts and styles it takes the two that
    are written here, by their checksums, so that no text of a foreign zoo can become one.
    """

    title: str
    lead: str
    sections: Sequence[Section]

    def html(self) -> str:
        """The whole page."""
        style, script = _read("page.css"), _read("charts.js") + _read("page.js")
        return _environment().get_template("page.html").render(
            page=self, style=Markup(style), script=Markup(script), style_sha=_sha(style), script_sha=_sha(script)
        )  # fmt: skip


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _sha(text: str) -> str:
    """The checksum of an inline script or style as browsers compute it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _breakable(text: str) -> Markup:
    """A long name, which may go on in the next line after a dot or a low line."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(text))))  # of Markup, re.sub would escape the rest


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    made = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    made.filters["breakable"] = _breakable
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
    return made
