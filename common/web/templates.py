"""Templates of pages: every text is escaped, and a name that has no value is an error."""

from __future__ import annotations

from jinja2 import BaseLoader, ChoiceLoader, Environment, StrictUndefined


def environment(*loaders: BaseLoader) -> Environment:
    """Return the environment of a page's templates; the first loader that has a template gives it."""
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
