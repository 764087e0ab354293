"""Examiner: an onlooker who finds fault with pages. Asks axe-core whether everybody can use them (WCAG 2.2 AA), the
browser whether they complained, and whether they fit their window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from tests.end_to_end.album import LOOKS, Look, Sight
from tests.end_to_end.browsing import overflow

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# Evaluated by the browser's debugger, which no content security policy stops: the page keeps its own.
RUN = """async () => (await axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
  rules: { "target-size": { enabled: true } },
  resultTypes: ["violations"],
})).violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map((node) => node.target.join(" ")) }))"""


@dataclass
class Examiner:
    """What was seen, and what was wrong with it, in words."""

    endpoints: set[str] = field(default_factory=set)
    sights: set[str] = field(default_factory=set)
    barriers: list[str] = field(default_factory=list)
    complaints: dict[str, list[str]] = field(default_factory=dict)
    too_wide: list[str] = field(default_factory=list)
    looks: Sequence[Look] = LOOKS
    language: str = "en-US"
    translations: str = ""

    def passed(self, endpoint: str) -> None:
        """A page of this endpoint was opened."""
        self.endpoints.add(endpoint)

    def see(self, sight: Sight) -> None:
        """Examine it."""
        self.sights.add(sight.name)
        if not sight.page.evaluate("'axe' in window"):
            sight.page.evaluate(AXE)
        violations: list[dict[str, Any]] = sight.page.evaluate(RUN)
        self.barriers += [f"{sight.name}: {found['id']} ({found['help']}) at {found['at']}" for found in violations]
        if (pixels := overflow(sight.page)) > 0:
            self.too_wide.append(f"{sight.name}: {pixels} pixels")
        if sight.complaints:
            self.complaints[sight.name] = list(sight.complaints)
