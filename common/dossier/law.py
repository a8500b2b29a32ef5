"""What reviewers under HIPAA, GDPR, the EHDS and the AI Act ask. The run's facts are filled in; judgment is left open.

Sources: 45 CFR 164.514(b); Regulation (EU) 2016/679, Recital 26 and Art. 35(7); Article 29 Working Party, Opinion
05/2014 (WP216); Regulation (EU) 2025/327; Regulation (EU) 2024/1689, Art. 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from common.columns.roles.categories import SafeHarbor
from common.dossier.card import highest_epsilon, read_columns, trust
from common.dossier.facts import RunFacts
from common.dossier.parts import Grid, Item, Section
from common.tables.roles import declared_role

NO_REPORT = (
    "No report is in this folder: attacks compare with real rows, so each hospital runs them and keeps the result."
)
NO_ATTACKS = "No attack was run: the report of a table of visits has none."

RISKS = {
    "singling out": ("singling_out",),
    "linkability": ("linkability",),
    "inference": ("attribute", "membership"),
}
"""First words of the attacks that measure each risk of WP216."""


def hipaa(facts: RunFacts) -> Section:
    """Return the table of Safe Harbor and the worksheet of an Expert Determination, 45 CFR 164.514(b)."""
    return Section(
        "hipaa",
        "HIPAA",
        "45 CFR 164.514(b) has two ways to call data de-identified. This part holds facts for both. Whether one is "
        "satisfied is for the covered entity, or its expert, to say.",
        (
            Item(
                "Are the rows of the table about individuals?",
                "Rows are drawn from a model of what the hospitals released, and none is copied from a record. A row "
                "may resemble or equal a person's by chance.",
                "docs/synthesizer.md",
            ),
            Item("Expert Determination: who is the expert, with what experience?"),
            Item(
                "Expert Determination: principles and methods",
                "Differential privacy, with accounting of every release; membership, attribute, linkage and "
                "singling-out attacks with control and baseline",
                "docs/privacy.md, docs/audit.md, docs/report.md",
            ),
            Item("Expert Determination: bound on any recipient", _bound_words(facts), "run.json"),
            Item("Expert Determination: measured risk", _attack_words(facts), _report(facts)),
            Item("Expert Determination: is the risk very small, in the expert's judgment?"),
            Item("Actual knowledge that the information could identify an individual"),
        ),
        (_safe_harbor(facts), *_attack_grids(facts)),
    )


def _safe_harbor(facts: RunFacts) -> Grid:
    """Return the identifiers of Safe Harbor, each with the columns that are one by name or declaration."""
    columns: dict[SafeHarbor, list[str]] = {}
    for column in facts.study.declared.columns:
        category = declared_role(column).category if column.modeled else None
        if category is not None:
            columns.setdefault(category, []).append(column.name)
    return Grid(
        "Safe Harbor: the 18 identifiers and the columns of the table",
        ("item", "identifier", "columns"),
        tuple(
            (item.letter, item.words, ", ".join(columns.get(item, ())) or "no column, by name and declaration")
            for item in SafeHarbor
        ),
        "model/study.toml, common/columns/roles",
    )


def gdpr(facts: RunFacts) -> Section:
    """Return Recital 26 with the three risks of WP216, and a skeleton of an assessment by Art. 35(7)."""
    return Section(
        "gdpr",
        "GDPR",
        "Recital 26: data are anonymous where nobody can be identified by means reasonably likely to be used. The "
        "three risks below are those of WP216. The assessment (DPIA) follows Art. 35(7); the run fills in what it "
        "knows.",
        (
            *(Item(f"Recital 26, {risk}", _risk_words(facts, kinds), _report(facts)) for risk, kinds in RISKS.items()),
            Item("Recital 26: is anybody identifiable by means reasonably likely to be used?"),
            *_assessment(facts),
            Item("Advice of the data protection officer (Art. 35(2)), views of data subjects (Art. 35(9))"),
            Item("Legal basis, and the condition of Art. 9(2) for health data"),
        ),
    )


def _assessment(facts: RunFacts) -> tuple[Item, ...]:
    """Return the points of Art. 35(7), each with what the run knows and what people must add."""
    study = facts.study
    columns = len(study.table.read_names)
    training = f" and {facts.plan.rounds} rounds of training" if facts.plan.rounds else ""
    return (
        Item(
            "Art. 35(7)(a): the processing",
            f"{len(study.hospitals)} hospitals computed noisy counts of {columns} columns{training}; a coordinator "
            "fitted a model and drew the table",
            "model/plan.json",
        ),
        Item("Art. 35(7)(a): purposes, and the legitimate interest where that is the basis"),
        Item(
            "Art. 35(7)(b): necessity and proportionality",
            ("In a deployment records stay" if facts.is_simulation else "By the method, records stay")
            + f" at the hospitals. {read_columns(study)}",
            "model/study.toml",
        ),
        Item("Art. 35(7)(b): why this purpose needs these columns"),
        Item(
            "Art. 35(7)(c): risks to patients",
            "membership, attribute and linkage inference from what was released, and access to a hospital's own "
            "systems",
            "docs/privacy.md",
        ),
        Item("Art. 35(7)(c): other risks at this hospital"),
        Item(
            "Art. 35(7)(d): measures",
            ("of a deployment, not of this simulation: " if facts.is_simulation else "")
            + ("no noise" if study.privacy.noise == "none" else "noise in everything that leaves")
            + "; a charge to a ledger before it leaves; consent by named persons for each run; a frozen table; where a "
            "hospital sets it up so, an agent without network",
            "docs/privacy.md, docs/deploy.md",
        ),
        Item("Art. 35(7)(d): who must be trusted", trust(study), "model/study.toml"),
    )


def european(facts: RunFacts) -> Section:
    """Return headings of the EHDS and of Art. 10 of the AI Act."""
    return Section(
        "ehds-ai-act",
        "EHDS and AI Act",
        "Headings that a data holder, and a provider who trains a high-risk system on the table, must answer.",
        (*_ehds(facts), *_ai_act(facts)),
    )


def _ehds(facts: RunFacts) -> tuple[Item, ...]:
    """Return headings of chapter IV of Regulation (EU) 2025/327, on secondary use."""
    return (
        Item("EHDS Art. 51: category of electronic health data"),
        Item("EHDS Art. 53 and 54: purpose of secondary use, and that it is not a prohibited one"),
        Item(
            "EHDS Art. 66: data minimisation",
            f"{read_columns(facts.study)}. Whether anonymised data suffice for the purpose is for the applicant to "
            "say.",
            "model/study.toml",
        ),
        Item("EHDS Art. 68 or 69: data permit, or data request"),
        Item("EHDS Art. 77: the dataset's description", "an entry for a catalog by HealthDCAT-AP", "dossier.ttl"),
        Item(
            "EHDS Art. 78: facts for a data quality and utility label",
            "the comparison with real rows" if facts.report else "each hospital's report; none is in this folder",
            _report(facts),
        ),
    )


def _ai_act(facts: RunFacts) -> tuple[Item, ...]:
    """Return the points of Art. 10(2) to (5) of Regulation (EU) 2024/1689."""
    study = facts.study
    return (
        Item(
            "AI Act Art. 10(2)(a): design choices",
            f"kinds and bounds of columns, synthesizer '{study.synthesizer.kind}', budget by phase",
            "model/study.toml, model/plan.json",
        ),
        Item(
            "AI Act Art. 10(2)(b): collection and origin",
            f"records of {', '.join(h.name for h in study.hospitals)}; origin of the schema: " + study.about.origin,
            "model/study.toml",
        ),
        Item("AI Act Art. 10(2)(b): original purpose of the collection of personal data"),
        Item(
            "AI Act Art. 10(2)(c): preparation",
            "cut into bins under noise, modeled, drawn; ranges and labels of the schema bound every cell",
            "docs/synthesizer.md",
        ),
        Item("AI Act Art. 10(2)(d): what the data are assumed to measure and represent"),
        Item(
            "AI Act Art. 10(2)(e): availability, quantity, suitability",
            "any number of rows can be drawn; the model rests on "
            f"{sum(h.declared_rows for h in study.hospitals):,} declared rows",
            "model/study.toml",
        ),
        Item("AI Act Art. 10(2)(f), (g): biases", _fairness(facts.report), _report(facts)),
        Item("AI Act Art. 10(2)(h): gaps that prevent compliance, and how they are addressed"),
        Item("AI Act Art. 10(3), (4): representative, complete, fit for the place and group of use"),
        Item("AI Act Art. 10(5): special categories of personal data used to correct biases, if any"),
    )


def _report(facts: RunFacts) -> str:
    """Return where a measured answer comes from, or the page about reports where no report is in the folder."""
    return "report.json" if facts.report else "docs/report.md"


def _fairness(report: dict[str, Any] | None) -> str:
    if report is None:
        return "No report is in this folder; see each hospital's."
    if report.get("kind") == "visits":
        return "The report of a table of visits does not compare groups"
    fairness = report.get("fairness")
    if not fairness:
        return "The study names no sensitive column, so groups were not compared"
    flagged = [
        comparison["title"]
        for column in fairness["columns"]
        for comparison in column["comparisons"]
        if comparison["is_flagged"]
    ]
    names = ", ".join(column["column"] for column in fairness["columns"])
    return f"groups of {names} compared: " + (
        "; ".join(flagged) + " differ beyond chance" if flagged else "no difference found beyond chance"
    )


def _bound_words(facts: RunFacts) -> str:
    """Return what epsilon bounds; a simulation's noise is predictable and bounds nothing."""
    worst, delta = highest_epsilon(facts), facts.study.privacy.delta
    if facts.study.privacy.noise == "none":
        return "none: no noise was added"
    bound = (
        f"epsilon {worst:.3f} at delta {delta:g}: whatever recipients know, the results tell them no more than an "
        f"answer that reveals one {facts.study.privacy.unit} of one hospital with a probability of delta and otherwise "
        f"changes the odds about one by a factor of at most {_factor(worst)}"
    )
    return (
        f"none in this simulation, whose noise can be predicted; of a deployment: {bound}"
        if facts.is_simulation
        else bound
    )


def _factor(epsilon: float) -> str:
    return f"{math.exp(epsilon):.3g}" if epsilon < 700 else "any size"


def _attack_words(facts: RunFacts) -> str:
    if facts.report is None:
        return NO_REPORT
    return NO_ATTACKS if facts.is_of_visits else str(facts.report["privacy"]["verdict"])


def _risk_words(facts: RunFacts, kinds: tuple[str, ...]) -> str:
    """Return the measured risks of some attacks, each with its interval."""
    if facts.report is None:
        return NO_REPORT
    words = [line for attack in facts.attacks if attack["name"].startswith(kinds) for line in _measured(attack)]
    if words:
        return "; ".join(words) + ". An attack can show a leak, never its absence."
    return NO_ATTACKS if facts.is_of_visits else "No such attack was run."


def _measured(attack: dict[str, Any]) -> Iterable[str]:
    records = attack["all_records"]
    if records["risk"] is not None:
        risk = records["risk"]
        yield (
            f"{attack['title']}: succeeds on {_interval(risk['attack'])} of training patients, on "
            f"{_interval(risk['control'])} of others, by guessing on {_interval(risk['baseline'])}"
        )
    if records["membership"] is not None:
        yield f"{attack['title']}: AUROC {_interval(records['membership']['auroc'])}, where 0.5 is guessing"


def _interval(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _attack_grids(facts: RunFacts) -> tuple[Grid, ...]:
    """Return the table of attacks; nothing without a report."""
    rows = []
    for attack in facts.attacks:
        risk, membership = attack["all_records"]["risk"], attack["all_records"]["membership"]
        measured = membership["auroc"] if risk is None else risk["attack"]
        control = "0.5 (guessing)" if risk is None else _interval(risk["control"])
        baseline = _interval(membership["baseline"] if risk is None else risk["baseline"])
        rows.append((attack["title"], attack["meaning"], _interval(measured), control, baseline))
    if not rows:
        return ()
    head = ("attack", "what it does", "success or AUROC", "on patients held out", "baseline")
    return (Grid("Attacks, with 95 % intervals", head, tuple(rows), "report.json"),)
