"""The tables of names of quasi-identifiers and of sensitive facts; `common.columns.roles.names` says how they match."""

from __future__ import annotations

from common.columns.roles.categories import Coarsening, Role, SafeHarbor
from common.columns.roles.names import COORDINATE, OF, NameRule, Needs


def _quasi(reason: str, coarsening: Coarsening | None, *patterns: str, needs: Needs = Needs.ANYTHING) -> NameRule:
    category = None if coarsening is None else CATEGORIES[coarsening]
    return NameRule(f"has a name that suggests {reason}", Role.QUASI, category, needs, patterns, coarsening)


CATEGORIES = {
    Coarsening.YEAR: SafeHarbor.DATES,
    Coarsening.BIRTH_YEAR: SafeHarbor.DATES,
    Coarsening.AGE: None,
    Coarsening.POSTAL: SafeHarbor.PLACES,
    Coarsening.DROP: SafeHarbor.PLACES,
    Coarsening.DATE_PART: SafeHarbor.DATES,
}
"""Item of Safe Harbor of what is coarsened; ages have one above 89 only."""

EVENTS = (
    r"(?:re)?(?:admission|admit|admitted|admittance|arrival|hospitali[sz]ation|discharged?|release)",
    r"(?:aufnahmen?|entlass(?:ung)?s?|einweisungs?|eintritts?|austritts?)",
    r"(?:admission|entree|sortie|hospitalisation)",
    r"(?:ingreso|admision|alta|egreso|hospitalizacion)",
)
"""Words for coming to and leaving a hospital, in English, German, French and Spanish."""

VITAL = (
    r"(?:birth|born|dob|death|dod|died|decease)",
    r"(?:geburts?|geb|sterbe|todes|tod)",
    r"(?:naissance|deces|mort)",
    r"(?:nac(?:imiento)?|defuncion|muerte|fallecimiento)",
)
"""Words for birth and death, in the same languages."""

WEEKDAY, JOUR, DIA = r"(?:week ?day|day of (?:the )?week|dow)", r"jour (?:de la )?semaine", r"dia (?:de la )?semana"
"""Words for the day of the week."""


def _parts(reason: str, words: tuple[str, str, str, str], days: tuple[str, str, str, str], needs: Needs) -> NameRule:
    """Return the rule of parts of dates of events, in both orders of their words.

    Args:
        reason: what the columns are.
        words: words for the events in English, German, French and Spanish.
        days: words for parts of their dates in these languages.
        needs: what the cells have to be.
    """
    (english, german, french, spanish), (part, teil, partie, parte) = words, days
    return _quasi(reason, Coarsening.DATE_PART,
                  rf"{english} ?(?:date ?)?{part}|(?<!\d )(?<!one ){part} (?:of )?(?:the )?{english}",
                  rf"{german} ?{teil}|{teil} (?:der |des |von |bei )?{german}",
                  rf"{partie} {OF}{french}|{french} {partie}",
                  rf"{parte} {OF}{spanish}|{spanish} {parte}", needs=needs)  # fmt: skip


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
    _parts("months and days of birth or death", VITAL,
           (rf"(?:month|quarter|{WEEKDAY}|(?<!birth)(?<!birth )day)",
            r"(?:monate?s?|quartal|wochentag|(?<!geburts)(?<!geburts )tag)",
            rf"(?:mois|trimestre|{JOUR}|jour)", rf"(?:mes|trimestre|{DIA}|dia)"), Needs.ANYTHING),
    _parts("months of a stay", EVENTS,
           (rf"(?:month|quarter|{WEEKDAY})", r"(?:monate?s?|quartal|wochentag)", rf"(?:mois|trimestre|{JOUR})",
            rf"(?:mes|trimestre|{DIA})"), Needs.PLACE),
    _quasi("calendar months", Coarsening.DATE_PART,
           rf"^(?:calendar )?month(?: name)?$|^{WEEKDAY}$", r"^(?:kalender)?monat(?:sname)?$|^wochentag$",
           rf"^mois$|^{JOUR}$", rf"^mes$|^{DIA}$", needs=Needs.CALENDAR),
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
    "has a name that suggests facts that harm when they are known", Role.SENSITIVE, None, Needs.ANYTHING,
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
