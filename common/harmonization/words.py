"""Common clinical words in English, German, French and Spanish, for proposals of a mapping. One table per use.

Accents and the way to write an umlaut do not matter, and German compounds are taken apart: only their parts are listed.
"""

from __future__ import annotations

HEADER_WORDS: dict[str, str] = {
    "patient": "patient|patienten|paciente|pat|case|fall|proband|subject|participant|sujet|cas|caso|record|mrn",
    "identifier": "identifier|id|number|nr|no|num|nummer|kennung|identifiant|identificador|numero|historia|ipp|nip",
    "date": "date|datum|dat|fecha|dt|day|tag|jour|dia",
    "time": "time|zeit|uhrzeit|heure|hora",
    "birth": "birth|born|geburt|geb|geburts|geboren|naissance|nacimiento|dob|ne e le|nee le|ne le",
    "age": "age|alter|lebensalter|edad|anos edad",
    "sex": "sex|gender|geschlecht|sexe|sexo|genre|genero",
    "admission": "admission|admitted|admit|aufnahme|aufgenommen|entree|hospitalisation|ingreso|admision|arrival",
    "discharge": "discharge|discharged|entlassung|entlass|entlassen|sortie|alta|egreso",
    "stay": "stay|los|length of stay|liegedauer|verweildauer|aufenthaltsdauer|liegezeit|duree de sejour|estancia|"
    "duree sejour|dias de estancia|dias estancia|aufenthalt",
    "died": "died|death|dead|deceased|mortality|verstorben|tod|gestorben|todesfall|deces|decede|mort|mortalite|exitus|"
    "expired|expire flag|hospital expire flag|fallecido|muerte|fallecimiento|mortalidad|defuncion",
    "alive": "alive|lebt|lebend|vivant|vivo|survived|uberlebt|survie",
    "ward": "ward|unit|station|abteilung|service|planta|servicio|unite|department|dept|clinic|klinik",
    "center": "center|centre|site|hospital|zentrum|klinikum|krankenhaus|hopital|centro",
    "visit": "visit|besuch|besuchs|visite|visita|termin|consultation|consulta|untersuchung|encounter",
    "weight": "weight|wt|gewicht|poids|peso|korpergewicht",
    "height": "height|ht|grosse|korpergrosse|korperlange|taille|talla|estatura|stature",
    "bmi": "bmi|body mass index|imc|korpermasseindex",
    "temperature": "temperature|temp|temperatur|temperatura|fieber|korpertemperatur",
    "heart rate": "heart rate|hr|pulse|puls|herzfrequenz|hf|frequence cardiaque|fc|frecuencia cardiaca|pouls|pulso",
    "respiratory rate": "respiratory rate|rr|atemfrequenz|af|frequence respiratoire|frecuencia respiratoria|resp rate",
    "systolic": "systolic|sbp|sys|systolisch|rr sys|systolique|pas|sistolica|pas|trestbps|systolischer",
    "diastolic": "diastolic|dbp|dia|diastolisch|rr dia|diastolique|pad|diastolica|diastolischer",
    "pressure": "pressure|bp|druck|blutdruck|tension|pression|presion|blood pressure|ta",
    "saturation": "saturation|spo2|sao2|sauerstoffsattigung|sattigung|saturacion|sat|o2 sat",
    "glucose": "glucose|glu|glukose|blutzucker|bz|glycemie|glucosa|glucemia|blood sugar|glucemie",
    "hba1c": "hba1c|a1c|glykohamoglobin|hemoglobine glyquee|hemoglobina glicada",
    "creatinine": "creatinine|crea|krea|kreatinin|creatinina|scr|cr",
    "urea": "urea|harnstoff|uree|bun",
    "uric acid": "uric acid|harnsaure|acide urique|acido urico|urate",
    "cholesterol": "cholesterol|chol|cholesterin|colesterol|total cholesterol|gesamtcholesterin",
    "hdl": "hdl|hdl c",
    "ldl": "ldl|ldl c",
    "triglycerides": "triglycerides|trig|tg|triglyzeride|trigliceridos",
    "bilirubin": "bilirubin|bili|bilirubine|bilirrubina",
    "albumin": "albumin|alb|albumine|albumina",
    "sodium": "sodium|na|natrium|sodio|natremie|natremia",
    "potassium": "potassium|k|kalium|potasio|kaliemie|potasemia",
    "calcium": "calcium|ca|kalzium|calcio",
    "hemoglobin": "hemoglobin|haemoglobin|hb|hgb|hamoglobin|hemoglobine|hemoglobina",
    "leukocytes": "leukocytes|wbc|leukozyten|leukos|leucocytes|leucocitos|white blood cells|globules blancs",
    "platelets": "platelets|plt|thrombozyten|thrombos|plaquettes|plaquetas",
    "crp": "crp|c reactive protein|c reaktives protein|proteine c reactive|pcr",
    "lactate": "lactate|laktat|lactato",
    "troponin": "troponin|troponine|troponina|tnt|tni",
    "diagnosis": "diagnosis|diagnose|hauptdiagnose|diagnostic|diagnostico|dx|icd|cie",
    "diabetes": "diabetes|diabete|dm|zuckerkrankheit",
    "hypertension": "hypertension|hypertonie|bluthochdruck|htn|hta|hypertonus|hipertension",
    "smoker": "smoker|smoking|smoke|raucher|rauchen|raucherstatus|tabak|nikotin|tabac|fumeur|tabagisme|fumador|tabaco|"
    "tabaquismo|tabaquico|smoking status",
    "alcohol": "alcohol|alkohol|alcool",
    "medication": "medication|medications|drugs|medikamente|medikation|medicaments|traitement|medicacion|medicamentos",
    "comorbidities": "comorbidities|conditions|history|vorerkrankungen|begleiterkrankungen|antecedents|antecedentes|"
    "comorbidites|comorbilidades",
    "emergency": "emergency|notfall|urgence|urgencia|urgencias",
    "insurance": "insurance|insurer|versicherung|krankenkasse|kasse|assurance|mutuelle|seguro|aseguradora",
    "fasting": "fasting|nuchtern|jeun|ayunas|basal",
    "outcome": "outcome|ergebnis|ausgang|resultat|resultado|evolution",
}
"""What names of columns are about, and the words for it; "|" stands between them."""

NOISE = frozenset({
    "arteriell", "arterielle", "arterial", "habito", "mean", "mittlere", "moyenne", "media",
    "of", "the", "at", "on", "in", "bei", "der", "des", "die", "von", "am", "de", "la", "le", "du", "les", "el",
    "los", "del", "au", "value", "wert", "valeur", "valor", "body", "korper", "current", "serum", "plasma", "blood",
    "blut", "sang", "sangre", "total", "level", "spiegel", "first", "baseline", "patient", "measured", "is", "ist",
    "d", "l", "y",
})  # fmt: skip
"""Words that say little about a column, left out where others remain."""

LABEL_WORDS: dict[str, str] = {
    "male": "male|m|man|mann|mannlich|homme|masculin|hombre|varon|masculino",
    "female": "female|f|w|woman|frau|weiblich|femme|feminin|mujer|femenino",
    "other": "other|d|x|divers|diverse|sonstige|sonstiges|andere|autre|autres|otro|otra|otros|non binary",
    "unknown": "unknown|unbekannt|inconnu|desconocido|not known",
    "yes": "yes|y|true|t|ja|j|wahr|oui|o|vrai|si|s|verdadero|checked|x",
    "no": "no|n|false|f|nein|falsch|non|faux|falso|unchecked|nej|nei",
    "positive": "positive|pos|positiv|positif|positivo|+",
    "negative": "negative|neg|negativ|negatif|negativo|-",
    "dead": "dead|died|deceased|expired|verstorben|tot|gestorben|decede|mort|fallecido|muerto|exitus",
    "alive": "alive|living|lebt|lebend|lebendig|vivant|vivo|survived|uberlebt",
    "never": "never|nie|niemals|jamais|nunca|nichtraucher|non fumeur|never smoker|no fumador",
    "former": "former|ex|ehemals|ehemalig|fruher|ancien|antiguo|exraucher|ex smoker|former smoker|exfumador|ex fumeur",
    "current": "current|aktuell|aktiv|actuel|actual|active|raucher|current smoker|fumeur|fumador|smoker",
    "emergency": "emergency|urgent|notfall|notfallmassig|urgence|urgencia",
    "elective": "elective|planned|elektiv|geplant|programme|programado|electif|electivo",
    "normal": "normal|unauffallig|normale|o b",
    "abnormal": "abnormal|auffallig|pathologisch|anormal|pathologique|patologico",
    "mild": "mild|leicht|leger|leve|low|niedrig|faible|bajo",
    "moderate": "moderate|mittel|massig|mittelschwer|modere|moderado|medium|moyen|medio",
    "severe": "severe|schwer|grave|high|hoch|eleve|alto",
    "left": "left|links|gauche|izquierda|izquierdo",
    "right": "right|rechts|droite|derecha|derecho",
    "both": "both|beide|beidseitig|bilateral|bilaterale",
    "surgery": "surgery|surgical|chirurgie|chirurgisch|cirugia",
    "medicine": "medicine|medical|internal medicine|innere medizin|innere|medizin|medecine|medecine interne|medicina|"
    "medicina interna",
    "intensive care": "intensive care|icu|intensivstation|its|reanimation|uci|cuidados intensivos|soins intensifs",
    "home": "home|zuhause|nach hause|domicile|domicilio|casa|hause",
    "diabetes": "diabetes|diabetes mellitus|diabete|dm",
    "hypertension": "hypertension|hypertonie|bluthochdruck|hta|hipertension",
    "cancer": "cancer|krebs|tumor|tumour|malignom|cancer|tumeur|neoplasia|krebserkrankung",
    "none": "none|keine|kein|aucun|aucune|ninguno|ninguna",
}
"""Meanings of labels, and the words for them. A word with several meanings counts where one of them is in the study."""

MONTHS: tuple[str, ...] = (
    "january|jan|januar|janner|janvier|janv|enero|ene", "february|feb|februar|fevrier|fevr|fev|febrero",
    "march|mar|marz|mrz|mars|marzo", "april|apr|avril|avr|abril|abr", "may|may|mai|mayo", "june|jun|juni|juin|junio",
    "july|jul|juli|juillet|juil|julio", "august|aug|aout|agosto|ago", "september|sep|sept|septembre|septiembre",
    "october|oct|oktober|okt|octobre|octubre", "november|nov|novembre|noviembre",
    "december|dec|dezember|dez|decembre|diciembre|dic",
)  # fmt: skip
"""Names of months in four languages, from January on; the English name and its abbreviation first."""

MISSING_TEXTS = ("k.A.", "k. A.", "kA", "keine Angabe", "unbekannt", "n.b.", "nicht bestimmt", "nicht gemessen",
                 "fehlt", "fehlend", "NSP", "ne sait pas", "inconnu", "non renseigné", "NR", "ND", "manquant",
                 "desconocido", "no consta", "sin datos", "s/d", "NS/NC", "unknown", "Unknown", "not known",
                 "not recorded", "missing", "-", "--", ".", "UNK", "-9", "-99", "-999", "9999", "99999")  # fmt: skip
"""Texts that often mean missing. One is proposed where it occurs and the study does not declare it."""

WORDS_FOR_MISSING = frozenset(text for text in MISSING_TEXTS if text.strip("-.0123456789"))
"""Those that are words, which mean missing in every column; marks and numbers may mean something else in another."""

SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
"""Numbers that often mean missing. One is proposed where it occurs outside the study's bounds, far from all others."""

MOLAR_MASSES: dict[str, float] = {
    "glucose": 180.156, "creatinine": 113.12, "urea": 60.06, "uric acid": 168.11, "cholesterol": 386.65, "hdl": 386.65,
    "ldl": 386.65, "triglycerides": 885.4, "bilirubin": 584.66, "calcium": 40.08, "sodium": 22.99, "potassium": 39.10,
    "lactate": 89.07, "hemoglobin": 16114.0,
}  # fmt: skip
"""Grams per mole of what laboratories measure; of hemoglobin, of one chain, as mmol/L counts it."""

COMMON_UNITS = ("mg/dL", "g/dL", "g/L", "mg/L", "mmol/L", "µmol/L", "kg", "g", "lb", "cm", "m", "in", "mm", "degC",
                "degF", "kelvin", "years", "months", "days", "hours", "mmHg", "kPa", "10^9/L", "1/µL", "10^12/L",
                "%", "1")  # fmt: skip
"""Units that are tried where no name says which one the numbers have."""

UNIT_SUFFIXES: dict[str, str] = {
    "kg": "kg", "cm": "cm", "mm": "mm", "lb": "lb", "lbs": "lb", "mmhg": "mmHg", "kpa": "kPa", "mgdl": "mg/dL",
    "gdl": "g/dL", "gl": "g/L", "mgl": "mg/L", "mmoll": "mmol/L", "umoll": "µmol/L",
    "years": "years", "yrs": "years", "jahre": "years", "ans": "years", "anos": "years", "months": "months",
    "monate": "months", "mois": "months", "meses": "months", "days": "days", "tage": "days", "jours": "days",
    "hours": "hours", "stunden": "hours", "celsius": "degC", "degc": "degC", "fahrenheit": "degF", "degf": "degF",
    "y": "years", "yr": "years", "j": "years", "percent": "%", "bpm": "bpm",
}  # fmt: skip
"""Units at the end of a name, as names of columns write them."""

SHORT_UNITS: dict[str, dict[str, str]] = {
    "temperature": {"f": "degF", "c": "degC", "k": "kelvin"},
    "weight": {"g": "g"},
    "height": {"m": "m", "in": "in"},
}
"""Units of one letter or two at the end of a name, where the name is about this."""
