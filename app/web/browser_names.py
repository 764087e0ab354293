"""What a browser is called on its owner's page: its name and its system, no version and nothing else it says of itself.

Knows no request.
"""

from app.web.words import gettext, marked

NAMELESS = "A browser"
# Most pretend to be others, so the order decides.
BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", marked("an iPhone")),
    ("iPad", marked("an iPad")),
    ("Macintosh", marked("a Mac")),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str | None:
    """'Firefox on Linux', or as much of it as can be told."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in SYSTEMS if mark in user_agent), None)
    if browser is None or system is None:
        return browser or (system and f"{NAMELESS} on {system}")
    return f"{browser} on {system}"


def in_words(kept: str | None) -> str | None:
    """Such a name in the reader's language."""
    browser, on, system = (kept or "").partition(" on ")
    if not on:
        return kept
    if browser == NAMELESS:
        return gettext("A browser on %(system)s", system=gettext(system))
    return gettext("%(browser)s on %(system)s", browser=browser, system=gettext(system))
