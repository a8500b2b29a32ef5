"""What a person does on a page in a browser: read, fill in, press, follow a link."""

from __future__ import annotations

from pathlib import Path

from tests.testbeds.browser import Browser

LOADED = "document.readyState === 'complete' && Boolean(document.querySelector('h1'))"
TEXT = "(document.body?.innerText ?? '')"


def fill(browser: Browser, **fields: str) -> None:
    for field, text in fields.items():
        browser.evaluate(f"document.getElementById({field.replace('_', '-')!r}).value = {text!r}")


def put(browser: Browser, key: str, value: str) -> None:
    """Fill in the field of this id; a box is ticked."""
    browser.evaluate(
        f"(() => {{ const field = document.getElementById({key!r}); "
        f"if (field.type === 'checkbox') field.checked = true; else field.value = {value!r}; }})()"
    )


def press(browser: Browser, label: str) -> None:
    browser.evaluate(f"Array.from(document.querySelectorAll('button')).find(b => b.innerText === {label!r}).click()")


def follow(browser: Browser, link: str) -> None:
    browser.evaluate(f"Array.from(document.querySelectorAll('a')).find(a => a.innerText === {link!r}).click()")


def unnamed_controls(browser: Browser) -> int:
    """How many fields and buttons a screen reader could not name."""
    return int(
        browser.evaluate(
            "Array.from(document.querySelectorAll('input:not([type=hidden]), textarea, select, button'))"
            ".filter(c => !(c.labels?.length || c.innerText || c.getAttribute('aria-label'))).length"
        )
    )


def choose_file(browser: Browser, field: str, file: Path) -> None:
    """Choose a file in a form, as the browser's dialogue does."""
    found = browser.call("Runtime.evaluate", expression=f"document.getElementById({field!r})")
    browser.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])
