"""The page for the meeting where hospitals agree on a schema: one HTML file that fetches nothing and runs no script."""

from __future__ import annotations

from jinja2 import PackageLoader

from common.dictionary.agreement import Agreement
from common.dictionary.agreement_text import summary
from common.evaluation.report.charts import NEUTRAL, REAL, SYNTHETIC
from common.web.templates import environment


def agreement_page(agreement: Agreement, *, title: str) -> str:
    """Return the page, in the look of the report. Every text of a dictionary is escaped.

    Args:
        agreement: the compared dictionaries.
        title: title of the page.
    """
    loaders = [PackageLoader("simulations", "pages"), PackageLoader("common.evaluation.report", "page")]
    columns = agreement.columns
    return (
        environment(*loaders)
        .get_template("agreement.html.jinja")
        .render(
            title=title,
            summary=summary(agreement),
            agreement=agreement,
            to_decide=[column for column in columns if column.is_open],
            settled=[column for column in columns if column.findings and not column.is_open],
            tasks={hospital: list(agreement.tasks_of(hospital)) for hospital in agreement.hospitals},
            colors={"real": REAL, "synthetic": SYNTHETIC, "neutral": NEUTRAL},
        )
    )
