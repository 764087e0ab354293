"""Hands that only have a keyboard: Tab to what is wanted, then type or press. No pointer, and no focus that a script
gives. Whatever is reached must be seen to be reached."""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

MOST_TABS = 80
HAS_FOCUS = "element => element === document.activeElement"
SHOWS_FOCUS = """element => [null, "::before", "::after"].some((part) => {
  const styled = getComputedStyle(element, part);
  return styled.outlineStyle !== "none" && parseFloat(styled.outlineWidth) > 0;
})"""


@dataclass(frozen=True)
class Keyboard:
    """At one page."""

    page: Page

    def press(self, *keys: str) -> None:
        """One after the other, wherever the focus is."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.page.keyboard.type(text)

    def reach(self, wanted: Locator) -> None:
        """Tab until it has the focus, which must be visible. Starts anew at the page's end, as a browser does."""
        expect(wanted).to_be_visible()
        for _ in range(MOST_TABS):
            if wanted.evaluate(HAS_FOCUS):
                break
            self.press("Tab")
        expect(wanted).to_be_focused()
        assert wanted.evaluate(SHOWS_FOCUS), f"nobody sees that {wanted} has the focus"

    def open(self, wanted: Locator) -> None:
        """Reach a link or a button and press Enter."""
        self.reach(wanted)
        self.press("Enter")

    def fill(self, wanted: Locator, text: str) -> None:
        """Reach a field and type."""
        self.reach(wanted)
        self.type(text)
