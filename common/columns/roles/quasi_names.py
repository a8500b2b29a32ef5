"""The tables of names of quasi-identifiers and of sensitive facts; `common.columns.roles.names` says how they match."""

from __future__ import annotations

from common.columns.roles.categories import Coarsening, Role, SafeHarbor
from common.columns.roles.names import COORDINATE, NameRule, Needs


def _quasi(reason: str, coarsening: Coarsening | None, *patterns: str, needs: Needs = Needs.ANYTHING) -> NameRule:
    category = None if coarsening is None else CATEGORIES[coarsening]
    return NameRule(f"is named as {reason} are", Role.QUASI, category, needs, patterns, coarsening)


CATEGORIES = {
    Coarsening.YEAR: SafeHarbor.DATES,
    Coarsening.BIRTH_YEAR: SafeHarbor.DATES,
    Coarsening.AGE: None,
    Coarsening.POSTAL: SafeHarbor.PLACES,
    Coarsening.DROP: SafeHarbor.PLACES,
}
"""Item of Safe Harbor of what is coarsened; ages have one above 89 only."""


QUASI_RULES: tuple[NameRule, ...] = (
    _quasi("postal codes", Coarsening.POSTAL,
           r"zip(?: ?codes?)?(?: ?\d)?|post(?:al)? ?codes?|zcta", r"plz|postleitzahl", r"code postal|cp",
           r"codigo postal|cp",
           r"post ?(?:nr|nummer)|kod pocztowy", needs=Needs.POSTAL),
    _quasi("places smaller than a state", Coarsening.DROP,
           r"city|town|village|municipality|county|parish|borough|neighbou?rhood|fips|census ?(?:tract|block)|"
           r"suburb|locality|district",
           r"birth ?place|place of (?:birth|residence|death)",
           r"ort|wohnort|stadt|gemeinde|landkreis|ortsteil|stadtteil|geburtsort|sterbeort", r"ville|commune|"
           r"arrondissement|departement",
           r"lieu (?:de )?(?:naissance|residence|deces)|localite", r"ciudad|municipio|provincia|comuna|localidad|"
           r"barrio",
           r"lugar (?:de )?(?:nacimiento|residencia)", needs=Needs.PLACE),
    _quasi("coordinates", Coarsening.DROP, COORDINATE, needs=Needs.DEGREES),
    _quasi("dates of birth", Coarsening.BIRTH_YEAR,
           r"dob|(?:date of |d o )?birth ?dates?|date of birth|birth ?day|birthdate|year of birth|birth ?year",
           r"geburts ?(?:datum|tag|jahr)|geb ?(?:dat|datum)?", r"(?:date|annee) (?:de )?naissance|ddn|nee? le",
           r"(?:fecha|ano) (?:de )?nac(?:imiento)?|fnac",
           r"data di nascita|data de nascimento|geboortedatum|fodselsdato|fodelsedatum"),
    _quasi("dates of death", Coarsening.YEAR, r"dod|death ?dates?|date of death|deathdate", r"sterbe ?datum|todesdatum",
           r"date (?:de )?deces", r"fecha (?:de )?(?:defuncion|muerte|fallecimiento)"),
    _quasi("ages", Coarsening.AGE, r"ages?|agegroup|patientage|age ?groups?",
           r"\w*alter", r"edad", r"leeftijd|eta|idade|alder|aldersgruppe|altersgruppe"),
    _quasi("demographic facts", None,
           r"sex|gender|race|ethnic\w*|nationality|citizenship|country|state|province|region|"
           r"marital(?: ?status)?|occupation|job|profession|"
           r"education|income|language|employer|military", r"geschlecht|herkunft|"
           r"nationalitat|land|"
           r"bundesland|kanton|familienstand|beruf|bildung|einkommen|sprache|staatsangehorigkeit",
           r"sexe|genre|ethnie|nationalite|pays|region|canton|situation familiale|etat civil|profession|metier|"
           r"langue",
           r"sexo|genero|etnia|nacionalidad|pais|estado civil|profesion|ocupacion|ingresos|idioma|"
           r"ano (?:de )?nacimiento"),
    _quasi("hospitals and wards", None, r"^(?:hospital|site|center|centre|clinic|ward|unit|facility)(?: ?(?:id|"
    r"name|no|code))?$",
           r"^(?:klinik|krankenhaus|station|standort)(?:name)?$", r"^(?:hopital|etablissement|service)$",
           r"^(?:centro|servicio)$"),
)  # fmt: skip
"""Names of quasi-identifiers, with which other tables can be joined."""

SENSITIVE_RULE = NameRule(
    "is named as facts are that harm when they are known", Role.SENSITIVE, None, Needs.ANYTHING,
    (r"diag\w*|\w*diagnosis|icd\w*|hiv|aids|hepatitis\w*|std|sti|syphilis|psych\w*|mental\w*|depress\w*|"
    r"suicid\w*|alcohol\w*|drugs?|"
     r"addict\w*|opioid\w*|smok\w*|abortion|pregnan\w*|sexual\w*|religion|genetic\w*|genotype|gene|abuse|death|"
     r"died|mortality|criminal\w*",
     r"diagnose\w*|krankheit\w*|alkohol\w*|sucht|raucher|schwanger\w*|konfession|abtreibung|verstorben|gestorben",
     r"diagnostic\w*|alcool|tabac|grossesse|religion|deces|toxicomanie|ivg", r"diagnostico\w*|embarazo|tabaco|"
     r"tabaquismo|religion|"
     r"adiccion|aborto|vih|muerte|fallecido"),
)  # fmt: skip
"""Names of what GDPR Article 9 and stigma make sensitive beyond health data as such."""
