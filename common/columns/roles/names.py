"""The table of names: what a column's name says about its role, in English, German, French, Spanish and others.

A pattern is matched with whole words of the name in lower case, without accents and with blanks between words, so that
`PatientName`, `patient_name` and `patient name` are one name. It names a direct identifier only where the cells do not
contradict it (`needs`): a column `phone` of yes and no is none.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from enum import Enum, auto

from common.columns.roles.categories import Coarsening, Role, SafeHarbor

WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
DIGIT_EDGES = re.compile(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])")
LETTERS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae"})


MEASURES = re.compile(
    r" (?:counts?|scores?|status|types?|flags?|rate|ratio|percent|level|country|class|category|group|consent|balance|"
    r"age|date|time|art|typ|anzahl|datum|alter|pays|pais|statut|estado|tipo)$"
)
"""Last words of names of columns that are about an identifier, or about something else."""


def words_of(name: str) -> str:
    """Return a column's name as words in lower case with single blanks, without accents: "PatientenID" as
    "patienten id", "Prénom" as "prenom"."""
    parted = WORD_STARTS.sub(" ", name.translate(LETTERS))
    plain = unicodedata.normalize("NFKD", parted).encode("ascii", "ignore").decode().lower()
    return " ".join(re.sub(r"[^a-z0-9]+", " ", DIGIT_EDGES.sub(" ", plain)).split())


class Needs(Enum):
    """What the cells have to be, if there are any, so that a name counts (`common.columns.roles.cells`)."""

    ANYTHING = auto()
    TEXT = auto()
    ADDRESS = auto()
    NUMBER = auto()
    LONG_NUMBER = auto()
    UNIQUE_NUMBER = auto()
    EMAIL = auto()
    URL = auto()
    IP = auto()
    COORDINATE = auto()
    FREE_TEXT = auto()
    POSTAL = auto()
    PLACE = auto()
    DEGREES = auto()
    CALENDAR = auto()


@dataclass(frozen=True)
class NameRule:
    """Names of one kind of column.

    Attributes:
        reason: what a column of such a name is, as the rest of a sentence.
        role: its role.
        category: its item of Safe Harbor; None for none.
        needs: what the cells have to be.
        patterns: alternatives of the words of the name, one text per language.
        coarsening: what makes such a column coarse enough; None where nothing is needed.
    """

    reason: str
    role: Role
    category: SafeHarbor | None
    needs: Needs
    patterns: tuple[str, ...]
    coarsening: Coarsening | None = None
    compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(rf"\b(?:{'|'.join(self.patterns)})\b"))


def _direct(reason: str, category: SafeHarbor, needs: Needs, *patterns: str) -> NameRule:
    return NameRule(f"has a name that suggests {reason}", Role.DIRECT, category, needs, patterns)


NO = r"(?:id|no|nr|num|number|nbr|numbers|key|code|ident|identifier|uid)"
NR = r"(?:nummer|nr|id|kennung|kennzeichen|no)"
OF = r"(?:de la |de l |de |del |du |d )?"
NUM = r"(?:numero|num|nro|no|n|id|identifiant|identificador|code|codigo)"

COORDINATE = (
    r"lat|latitude|lon|long|lng|longitude|geo ?(?:location|code|point)?|gps|coord(?:inate)?s?|location|latitud|"
    r"longitud|"
    r"(?:geo)?koordinaten?|breitengrad|langengrad|laengengrad|coordonnees?|coordenadas?"
)

NAME_RULES: tuple[NameRule, ...] = (
    _direct("web addresses", SafeHarbor.URL, Needs.URL,
            r"urls?|uri|web ?(?:site|page|address|link)|home ?page|linkedin|facebook|instagram|twitter",
            r"webseite|internetadresse", r"site (?:web|internet)|adresse web", r"(?:sitio|pagina) web"),
    _direct("IP addresses", SafeHarbor.IP, Needs.IP,
            r"i ?p(?: ?v ?[46])?(?: ?addr(?:ess)?)?|remote ?addr", r"ip ?adresse", r"adresse ip", r"direccion ip"),
    _direct("e-mail addresses", SafeHarbor.EMAIL, Needs.EMAIL,
            r"e ?mails?|mail", r"mailadresse|emailadresse", r"courriel|mel", r"correo(?: electronico)?",
            r"e ?post|mejl"),
    _direct("device identifiers", SafeHarbor.DEVICE, Needs.LONG_NUMBER,
            rf"(?:device|implant|pacemaker|pump|equipment|prosthesis) ?(?:serial ?)?{NO}",
            rf"serial(?: ?{NO})?|udi|imei|mac ?addr(?:ess)?", rf"serien ?{NR}|gerate ?{NR}|implantat ?{NR}",
            r"(?:numero|num|no|n) (?:de )?serie"),
    _direct("fax numbers", SafeHarbor.FAX, Needs.LONG_NUMBER,
            r"(?:tele)?fax(?: ?(?:nummer|nr|number|no|num))?|facsimile", r"telecopie(?:ur)?"),
    _direct("telephone numbers", SafeHarbor.TELEPHONE, Needs.LONG_NUMBER,
            rf"(?:tele)?phones?(?: ?{NO})?|tel|mobile|^cell$|cell ?{NO}|cell ?phone|contact ?(?:no|nr|num|number)|"
            rf"pager|whats ?app",
            r"telefon\w*|tel ?nr|handy\w*|mobil\w*|mobilfunk\w*|rufnummer|festnetz\w*",
            r"telephone|portable|tel (?:fixe|portable|domicile)", r"telefono|movil|celular|tlf|tfno|tlfno",
            r"cellulare|telefone|telemovel|telefoon\w*|puhelin\w*"),
    _direct("account numbers", SafeHarbor.ACCOUNT, Needs.LONG_NUMBER,
            rf"(?:bank ?)?accounts?(?: ?{NO})?|iban|credit ?card\w*(?: ?{NO})?|card ?(?:no|number)|(?:billing|"
            rf"invoice) ?{NO}",
            rf"konto ?{NR}|bankverbindung|kreditkarten?(?: ?{NR})?|rechnungs ?{NR}",
            rf"rib|compte bancaire|{NUM} {OF}(?:compte|facture|carte bancaire)",
            rf"cuenta bancaria|tarjeta de credito|{NUM} {OF}(?:cuenta|factura|tarjeta)"),
    _direct("health plan numbers", SafeHarbor.HEALTH_PLAN, Needs.LONG_NUMBER,
            rf"(?:health ?)?(?:insurance|plan|policy|member|subscriber|beneficiary|medicare|medicaid|nhs|"
            rf"health ?card|insured) ?{NO}",
            r"mbi|hicn|ohip|nhs", rf"\w*versicherten ?{NR}|(?:kranken ?)?versicherungs ?{NR}|kv ?nr|egk ?(?:nr|"
            rf"nummer)?",
            rf"mitglieds ?{NR}|kvnr", rf"carte vitale|{NUM} {OF}(?:assure|adherent|mutuelle)",
            rf"tarjeta sanitaria|tsi|{NUM} {OF}(?:poliza|afiliado|asegurado|afiliacion)|poliza|nuhsa"),
    _direct("social security and national numbers", SafeHarbor.SOCIAL_SECURITY, Needs.LONG_NUMBER,
            rf"ssn|soc(?:ial)? ?sec(?:urity)?(?: ?{NO})?|national ?(?:identity|identification|insurance|"
            rf"id)(?: ?(?:card|{NO}))*",
            rf"national ?{NO}|nino|tax ?(?:payer ?)?{NO}|tin|itin|(?:personal|citizen) ?(?:identity|"
            rf"identification)? ?{NO}",
            rf"sozialversicherungs ?{NR}|(?:sv|ahv|rv) ?{NR}|steuer ?(?:identifikations)?(?: ?{NR})|"
            rf"steueridentifikationsnummer",
            rf"rentenversicherungs ?{NR}|ausweis ?{NR}|personalausweis\w*|ahv",
            rf"nir|insee|(?:{NUM} )?{OF}securite sociale|{NUM} {OF}(?:secu|ss|identite)|nss|cni|carte d identite",
            rf"dni|nie|nif|cedula|curp|rut|{NUM} {OF}(?:identidad|identificacion)|(?:{NUM} )?{OF}seguridad social",
            r"documento(?: (?:de |nacional de )?identidad)?",
            r"codice fiscale|bsn|burgerservicenummer|person ?nummer|fodselsnummer|cpr|hetu|henkilotunnus|pesel|cpf"),
    _direct("license, passport and certificate numbers", SafeHarbor.LICENSE, Needs.LONG_NUMBER,
            rf"(?:drivers?|driving)(?: ?licen[cs]e)?(?: ?{NO})?|(?:licen[cs]e|certificate) ?{NO}|"
            rf"passport(?: ?{NO})?|npi",
            rf"fuhrerschein\w*|fuehrerschein\w*|reisepass\w*|pass ?{NR}|lanr", r"permis(?: de conduire)?|"
            r"passeport|rpps|adeli",
            r"carnet? de conducir|licencia de conducir|pasaporte|(?:numero (?:de )?)?colegiado"),
    _direct("vehicle identifiers", SafeHarbor.VEHICLE, Needs.NUMBER,
            rf"vin|vehicle(?: ?{NO})|licen[cs]e ?plates?(?: ?{NO})?|plate ?(?:no|number)",
            rf"(?:kfz|auto) ?kennzeichen|kennzeichen|fahrgestell ?{NR}", r"immatriculation", r"matricula|bastidor"),
    _direct("biometric identifiers", SafeHarbor.BIOMETRIC, Needs.TEXT,
            r"(?:finger|voice|face|palm|hand) ?prints?|(?:iris|retinal?) ?(?:scan|code|template)|biometrics?|face ?id",
            r"fingerabdruck|fingerabdrucke", r"empreintes? digitales?", r"huellas? (?:dactilar|digital)(?:es)?"),
    _direct("photographs", SafeHarbor.PHOTO, Needs.TEXT,
            r"(?:patient ?|face ?|profile ?)?(?:photos?|photographs?|pictures?|portraits?|selfies?)(?: ?(?:file|"
            r"path|name))?",
            r"lichtbild|passbild|fotos?", r"photographie", r"fotografias?"),
    _direct("medical record and patient numbers", SafeHarbor.MEDICAL_RECORD, Needs.NUMBER,
            rf"mrn|(?:medical ?|health ?)?records? ?{NO}|medical ?record|^chart$|chart ?{NO}|"
            rf"\w*patient\w* ?(?:\w+ )?{NO}|patient\w+id",
            rf"pat ?{NO}|pt ?{NO}|\w*pid|emr ?{NO}|ehr ?{NO}|^patients?$|patient ?(?:ref|reference)",
            rf"patient(?:en|in|innen)? ?{NR}|pat ?{NR}|fall ?{NR}|aufnahme ?{NR}|(?:kranken ?)?akten? ?(?:{NR}|"
            rf"zeichen)",
            rf"ipp|iep|nda|{NUM} {OF}(?:patient|dossier|sejour)(?: medical)?|dossier(?: ?{NUM})?|patient {NUM}",
            rf"nhc|{NUM} {OF}(?:paciente|historia(?: clinica)?|expediente|episodio)|^paciente$|paciente {NUM}|"
            rf"expediente",
            r"pasient ?(?:id|nr|nummer)|patient ?nummer|id paziente|utente"),
    _direct("identifiers of people or records", SafeHarbor.UNIQUE, Needs.NUMBER,
            rf"(?:subject|subj|participant|person|individual|client|customer|donor|employee|user|case|study|"
            rf"family|household) ?{NO}",
            r"usubjid|subjid|^subject$|uuid|guid|^uid$|^id(?: \d+)?$|^identifier$|^pseudonym$|user ?name|^login$|"
            r"^row ?id$|hash(?:ed)?",
            rf"proband\w* ?{NR}|teilnehmer ?{NR}|versuchsperson|personal ?{NR}|pseudonym|^kennung$",
            rf"^identifiant$|{NUM} {OF}(?:sujet|participant|individu)|pseudonyme", rf"{NUM} {OF}(?:sujeto|"
            rf"participante|persona)|^identificador$"),
    _direct("identifiers of single events", SafeHarbor.UNIQUE, Needs.UNIQUE_NUMBER,
            rf"(?:encounter|visit|stay|icustay|admission|hadm|episode|specimen|sample|accession|order|claim|"
            rf"event|appointment) ?{NO}",
            rf"(?:referral|prescription|image|series|session|transaction|row|barcode|bar) ?{NO}|barcode|\w*stayid",
            rf"proben? ?{NR}|auftrags ?{NR}|lfd ?nr|laufende ?nummer", rf"{NUM} {OF}(?:visite|prelevement|"
            rf"echantillon)",
            rf"{NUM} {OF}(?:visita|muestra|ingreso)"),
    _direct("names of people", SafeHarbor.NAMES, Needs.TEXT,
            r"(?:first|given|middle|last|family|maiden|birth|full|legal|preferred|nick|fore|sur) ?names?|"
            r"^names?(?: \d)?$|surnames?",
            r"(?:patient|pt|pat|subject|person|client|member|mother|father|parent|spouse|guardian|contact|"
            r"relative|employer)s? ?"
            r"(?:\w+ )?names?", r"^(?:first|last|middle|maiden|patient)$|initials|next of kin|emergency ?contact|"
            r"guardian|nok",
            r"(?:doctor|physician|provider|surgeon|nurse|clinician|attending|practitioner|gp|"
            r"consultant)s? ?(?:\w+ )?names?|"
            r"attending(?: physician)?|(?:doctor|physician|surgeon)$|^gp$|general practitioner",
            r"(?:vor|nach|familien|geburts|ruf|zu|voll|patienten|kunden|madchen|maedchen|mutter|vater|arzt)[ ]?"
            r"(?:vor|nach|familien)?namen?|name (?:des|der) \w+|hausarzt|(?:behandelnder|zuweisender|"
            r"einweisender) arzt|"
            r"initialen|notfallkontakt|ansprechpartner(?:in)?|angehorige[rn]?|bezugsperson",
            rf"^(?:patient )?noms?(?: {OF}(?:famille|naissance|jeune fille|usage|patronymique|epouse|patiente?|"
            rf"mere|pere|medecin|complet|usuel|prenoms?))?$|"
            r"\w* ?prenoms?|^noms? et prenoms?$|medecin(?: traitant)?|personne (?:de confiance|a contacter|"
            r"a prevenir)|initiales",
            rf"apellidos?|^nombres?(?: {OF}(?:paciente|madre|padre|pila|completo|medico))?$|"
            rf"nombres? (?:y )?apellidos?|"
            r"paciente nombre|medico(?: (?:tratante|responsable))?|(?:persona|contacto) de (?:contacto|"
            r"emergencia)|iniciales",
            r"cognome|^nome(?: completo)?$|sobrenome|apelido|(?:voor|achter|roep)naam|^naam$|(?:for|etter|"
            r"efter)na[vm]n|^navn$|^namn$",
            r"(?:for|efter)namn|etunimi|sukunimi|imie|nazwisko"),
    _direct("house numbers", SafeHarbor.PLACES, Needs.NUMBER,
            r"house ?(?:no|nr|number)|street ?(?:no|nr|number)", r"haus ?(?:nr|nummer)|hnr", r"numero de rue|"
            r"numero de voie",
            r"numero de (?:calle|casa)|huisnummer|husnummer"),
    _direct("addresses", SafeHarbor.PLACES, Needs.ADDRESS,
            r"(?:home|street|mailing|postal|residential|billing|patient|current|"
            r"permanent)? ?addr(?:ess)?(?:es)?(?: ?line)?(?: \d)?|"
            r"street(?: ?name)?|apartment|apt|po box",
            r"(?:wohn|post|heimat|patienten|haus)?(?: ?)(?:adresse|anschrift)|strasse\w*|postfach",
            r"adresse(?: \w+)?|rue|voie|domicile|boite postale", r"direccion|domicilio|calle",
            r"indirizzo|endereco|morada|straat\w*|adres|gateadresse|gatuadress|adress|ulica"),
    _direct("coordinates", SafeHarbor.PLACES, Needs.COORDINATE,
            COORDINATE),
    _direct("notes", SafeHarbor.UNIQUE, Needs.FREE_TEXT,
            r"\w* ?(?:notes?|comments?|remarks?|narratives?|free ?text|text|letter|transcript|summary|report|hpi|"
            r"anamnesis|history)",
            r"notiz(?:en)?|bemerkung(?:en)?|kommentare?|anmerkung(?:en)?|freitext|arztbrief|anamnese|befund\w*|"
            r"verlauf|epikrise",
            r"remarques?|commentaires?|observations?|compte rendu|texte libre|anamnese|courrier",
            r"observacion(?:es)?|comentarios?|notas?|anotaciones|texto libre|anamnesis|informe|evolucion|historia"),
)  # fmt: skip
"""Names of direct identifiers; the first rule that matches and whose cells fit counts."""
