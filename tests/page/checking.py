"""What a page must be, whatever it shows: whole HTML, one file, no text that became markup."""

import json
import re
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "input", "br", "hr", "link", "wbr"}
HOSTILE = "\"'><img src=x onerror=alert(1)></script><script>alert(2)</script>{{ 7 * 7 }} &amp;"


class Outline(HTMLParser):
    """The elements of a page, the text in them, and what is wrong with it as a list of sentences."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {name: value or "" for name, value in attrs}
        self.elements.append((tag, held))
        self.wrong += [f"<{tag} {name}> runs a script" for name in held if name.startswith("on")]
        self.wrong += [
            f"<{tag} {name}={held[name]!r}> is another file"
            for name in ("src", "href") if name in held and not held[name].startswith("data:image/png;base64,")
        ]  # fmt: skip
        if tag == "img" and not held.get("alt"):
            self.wrong.append("a picture without words for it")
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)

    @property
    def charts(self) -> list[dict[str, Any]]:
        """The values of all charts."""
        kinds = [held.get("type") for tag, held in self.elements if tag == "script"]
        return [json.loads(text) for kind, text in zip(kinds, self.scripts, strict=True) if kind == "application/json"]


def outline(page: str) -> Outline:
    """The outline of a page with nothing wrong in it."""
    found = Outline(page)
    addresses = re.findall(r"\w+://[^\s\"'<]*", re.sub(r"http://www\.w3\.org/2000/svg", "", page))
    assert not found.wrong, found.wrong
    assert not addresses, f"addresses of other places: {addresses}"
    programs = [held for tag, held in found.elements if tag == "script" and "type" not in held]
    assert len(programs) == 1, f"{len(programs)} programs"
    assert len(page.encode()) < 3_000_000
    return found
