"""The forms of a page, as a browser that sends them without a change would fill them in."""

from __future__ import annotations

from html.parser import HTMLParser


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] = {}
        self._select = self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self._form = self.forms[facts["action"].rpartition("/")[2]] = {}
            case "input" if "name" in facts and (facts.get("type") != "checkbox" or "checked" in facts):
                self._form[facts["name"]] = facts.get("value", "")
            case "select":
                self._select = facts["name"]
            case "option":
                self._option(facts)
            case "textarea":
                self._area = facts["name"]
                self._form[self._area] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._form[self._area] = self._form[self._area].removeprefix("\n")
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self._form[self._area] += data
        elif self._wanted:
            self._form[self._select] = data.strip()
            self._wanted = False

    _wanted = False

    def _option(self, facts: dict[str, str]) -> None:
        if "selected" not in facts and self._select in self._form:
            return
        if "value" in facts:
            self._form[self._select] = facts["value"]
        else:
            self._form.setdefault(self._select, "")
            self._wanted = True


def forms_of(page: str) -> dict[str, dict[str, str]]:
    """Return the fields of every form by the last part of its address."""
    parser = _Forms()
    parser.feed(page)
    return parser.forms
