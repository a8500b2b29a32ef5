"""The data card and the page for an ethics board: what the table is, what it cost, what it is good for."""

from __future__ import annotations

from common.dossier.facts import Cohort, RunFacts
from common.dossier.parts import Grid, Item, Section
from common.omop.sql import digest
from common.omop.words import taken_by_query
from common.privacy import accountant
from common.privacy.meaning import suspicion_sentence
from common.study.study import Study


def epsilon_of(facts: RunFacts, hospital: str) -> float:
    """Return epsilon of the whole plan at one hospital, at the study's delta."""
    hospital_plan = facts.plan.of(hospital)
    assert hospital_plan is not None, "a hospital of the study"
    return accountant.epsilon(facts.plan.events(hospital_plan), facts.study.privacy.delta)


def highest_epsilon(facts: RunFacts) -> float:
    """Return the epsilon of the hospital with the highest."""
    return max(epsilon_of(facts, planned.hospital) for planned in facts.plan.hospitals)


def trust(study: Study) -> str:
    """Return in a sentence who must be trusted for the guarantee to hold."""
    match study.privacy.noise:
        case "local":
            return (
                "Each hospital adds all noise that protects it: the guarantee rests on its own systems and on this "
                "software, and on no other party."
            )
        case "distributed":
            return (
                "Hospitals share the noise: the guarantee holds while at least as many of them as the plan says keep "
                "their part secret, and where they compared each other's keys. The coordinator, which reads sums "
                "only, need not be trusted then."
            )
        case _:
            return "No noise was added: nothing protects a patient, and the table is for comparisons only."


def read_columns(study: Study) -> str:
    """Return what is read of the hospitals' records, as a sentence without its end."""
    columns = len(study.table.read_names)
    if study.extraction is None:
        return f"{columns} columns are read, which the study names, and the patient's identifier where it names one"
    return (
        f"{columns} columns are made by the SQL texts of the data card, which also read identifiers, dates, "
        "observation periods and years of birth"
    )


def summary(facts: RunFacts) -> Section:
    """Return the page for an ethics board, in plain words."""
    study = facts.study
    return Section(
        "summary",
        "In short, for an ethics board",
        "One page without technical terms. The parts below repeat all of it, with sources.",
        (
            Item(
                "What was made?",
                f"A table of invented rows that resembles the records of {len(study.hospitals)} hospitals in "
                f"{len(study.table.read_names)} columns. Each row is drawn from a model, and none is copied from a "
                f"record; it may still resemble one of a person. {_travel(facts)}",
                "run.json, docs/privacy.md",
            ),
            Item("How are patients protected?", _protection(facts), "run.json, common/privacy/meaning.py"),
            Item("Who must be trusted?", trust(study), "model/study.toml, docs/privacy.md"),
            Item("Is the table good enough to use?", _quality(facts), "report.json" if facts.report else "run.json"),
            Item(
                "What must it not be used for?",
                "Decisions about a person, and figures that are published as if they came from patients.",
                "docs/report.md",
            ),
            Item("For what purpose is it to be used, and for how long?"),
            Item("Do patients, or those who speak for them, agree?"),
        ),
    )


def _protection(facts: RunFacts) -> str:
    """Return what somebody can learn about a patient at most, if anything limits it."""
    if facts.is_simulation:
        return (
            "This was a simulation: its noise can be predicted and protects nobody. Only the method can be judged from "
            "it."
        )
    if facts.study.privacy.noise == "none":
        return trust(facts.study)
    return suspicion_sentence(facts.study.privacy.unit, highest_epsilon(facts), facts.study.privacy.delta)


def _travel(facts: RunFacts) -> str:
    """Return what left the hospitals; in a simulation, what would leave."""
    sums = "sums without noise" if facts.study.privacy.noise == "none" else "sums with random noise"
    sums += " and weights of a small network" if facts.plan.rounds else ""
    if facts.is_simulation:
        return f"All tables were on one machine. In a deployment no record leaves a hospital; it sends {sums}."
    return f"By the method, no record leaves a hospital; hospitals sent {sums}."


def _quality(facts: RunFacts) -> str:
    if facts.report is None:
        return "Each hospital has a report of its own. It compares with real rows and stays there; no figure is here."
    return str(facts.report["verdict"]["headline"])


def data_card(facts: RunFacts) -> Section:
    """Return provenance, columns, cost and known failures."""
    study, record = facts.study, facts.record
    hospitals = tuple(
        (h.name, f"{h.declared_rows:,}", f"{epsilon_of(facts, h.name):.3f}", f"{study.privacy.delta:g}")
        for h in study.hospitals
    )
    columns = tuple((column.name, column.kind, column.description or "") for column in study.table.columns)
    findings = tuple(facts.report["verdict"]["findings"]) if facts.report is not None else ()
    items = [
        Item("Study", f"{study.name}, fingerprint {study.fingerprint}", "model/study.toml"),
        Item("Run and plan", f"run {record['run_id']}, plan {facts.plan.digest}", "run.json"),
        Item(
            "Software",
            ", ".join(f"{name} {version}" for name, version in sorted(record["versions"].items())),
            "run.json",
        ),
        Item(
            "What the numbers of epsilon are about",
            f"one {study.privacy.unit} of one hospital, added or removed, with everything that ever left about it in "
            "this run",
            "docs/privacy.md",
        ),
        Item("Trust", trust(study), "model/study.toml"),
        *_table_items(facts),
        *(Item("Warning", warning, "run.json") for warning in record.get("warnings", ())),
        *(Item("Known weakness", finding, "report.json") for finding in findings),
        Item("Intended use"),
        Item(
            "Excluded use",
            "Clinical decisions about a person; estimates without a check on real rows",
            "docs/report.md",
        ),
        Item("Who answers questions about this table"),
    ]
    if facts.cohort is not None:
        items += _cohort_items(facts.cohort)
    return Section(
        "data-card",
        "Data card",
        "What the table is, where it comes from, and what it cost.",
        tuple(items),
        (
            Grid("Hospitals", ("hospital", "declared rows", "epsilon of this run", "delta"), hospitals, "run.json"),
            Grid("Columns that hospitals read", ("column", "kind", "meaning"), columns, "model/study.toml"),
            *_source_grids(study),
        ),
    )


def _table_items(facts: RunFacts) -> list[Item]:
    """Return where the hospitals' tables come from, if the study says so, and which files the run wrote."""
    items = []
    if facts.study.extraction is not None:
        source = (
            "Each hospital takes it from its OMOP database (Common Data Model 5.3 or 5.4) by the SQL texts below; "
            f"definitions and texts together have the SHA-256 {digest(facts.study.extraction)}"
        )
        items.append(Item("Source of the hospitals' tables", source, "model/study.toml"))
    files = facts.record.get("files", {})
    if files:
        listed = "; ".join(f"{name} {sha256}" for name, sha256 in sorted(files.items()))
        items.append(Item("SHA-256 of what the run released", listed, "run.json"))
    return items


def _source_grids(study: Study) -> tuple[Grid, ...]:
    """Return what each SQL text takes from an OMOP database; nothing for other studies."""
    if study.extraction is None:
        return ()
    head = ("study cohort, visits or column", "what is taken; numbers in brackets are concepts", "SHA-256 of the SQL")
    rows = tuple(taken_by_query(study.extraction))
    return (Grid("What is taken from the OMOP databases", head, rows, "model/study.toml"),)


def _cohort_items(cohort: Cohort) -> list[Item]:
    ledger = f"ledger of {cohort.hospital}"
    decisions = "; ".join(cohort.decisions) or "none is filed"
    return [
        Item(
            f"Everything {cohort.hospital} ever released or reserved",
            f"epsilon {cohort.epsilon:.3f} of {cohort.limit:g} at delta {cohort.delta:g} (Renyi bounds)",
            ledger,
        ),
        Item("The ledger", f"{cohort.entries} entries; the hash of the last is {cohort.head}", ledger),
        Item("Decisions about this run", decisions, ledger),
        Item(
            "Table that answered", f"SHA-256 {cohort.table}" if cohort.table else "the run is not in the ledger", ledger
        ),
    ]
