"""Given names with which cells show that they hold names of people: frequent ones of ten languages, without accents."""

from __future__ import annotations

import re
import unicodedata

FREQUENT = """
james robert john michael david william richard joseph thomas charles christopher daniel matthew anthony mark
donald steven paul andrew joshua kenneth kevin brian george timothy ronald edward jason jeffrey ryan jacob
gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander raymond
patrick jack dennis jerry mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy
betty sandra margaret ashley kimberly emily donna michelle carol amanda melissa deborah stephanie rebecca
sharon laura cynthia dorothy amy kathleen angela shirley emma brenda pamela nicole anna samantha katherine
christine helen debra rachel carolyn janet maria heather diane olivia julie joyce victoria ruth virginia
lauren kelly christina joan evelyn judith andrea hannah megan peter hans wolfgang klaus jurgen juergen dieter
manfred uwe gunter guenter horst helmut gerhard heinz bernd rainer werner karl stefan andreas matthias martin
sven jens lars jan tim lukas leon felix jonas maximilian max niklas finn elias ursula monika petra elisabeth
sabine renate helga karin brigitte ingrid erika gisela claudia susanne gabriele birgit heike anja katja silke
ute martina katrin julia lena lea mia sophie marie charlotte johanna greta frieda hildegard otto fritz anke
jorg joerg ralf holger torsten thorsten dirk jean pierre michel andre philippe alain jacques bernard marcel
roger claude christian francois laurent nicolas thierry pascal olivier julien sebastien antoine hugo louis
gabriel arthur jules lucas mathieu guillaume jeanne francoise monique catherine nathalie isabelle jacqueline
anne sylvie martine suzanne helene veronique chantal camille chloe manon ines sandrine valerie celine aurelie
emilie amelie elodie jose antonio juan manuel francisco luis javier miguel carlos angel pedro rafael fernando
pablo jorge sergio alberto diego alejandro ramon vicente enrique joaquin andres raul eduardo alvaro ignacio
jaime santiago carmen josefa isabel dolores pilar teresa ana francisca antonia mercedes rosario lucia elena
concepcion rosa manuela raquel beatriz sonia silvia marta cristina sofia paula irene nuria lourdes consuelo
esperanza guadalupe giuseppe giovanni mario luigi marco francesco giulia chiara paolo lorenzo alessandro
matteo joao tiago paulo ricardo rui nuno rita johannes pieter kees willem bram daan sanne femke anouk erik
bjorn ole kari astrid nils olav solveig sigrid anders gunnar birgitta mikael eva kristian mette soren niels
juha matti timo pekka liisa piotr krzysztof andrzej tomasz katarzyna malgorzata agnieszka ewa zofia ahmed
mohammed mohamed muhammad ali fatima aisha mehmet mustafa ayse emine hassan omar yusuf ibrahim wei ming li
fang hiroshi yuki kenji sakura priya raj amit sunita
"""
GIVEN_NAMES = frozenset(FREQUENT.split())

WORD = re.compile(r"[^\W_\d]+")
TITLES = frozenset({"mr", "mrs", "ms", "miss", "dr", "prof", "med", "herr", "frau", "mme", "m", "mlle", "sr",
"sra", "don", "dona",
                    "de", "la", "del", "von", "van", "der", "jr"})  # fmt: skip
NOT_PEOPLE = frozenset({"st", "saint", "sankt", "san", "santa", "sainte", "hospital", "clinic", "klinik",
"klinikum", "center", "centre",
                        "krankenhaus", "hopital", "university", "medical", "health", "general", "disease",
                        "syndrome"})  # fmt: skip
"""Words of names of hospitals and diseases."""

MOST_WORDS = 6
"""Words of a person's name."""


def is_person(text: str) -> bool:
    """Return whether a text reads as a person's name: at most six words, a given name first or after a comma."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = [word for word in WORD.findall(plain) if word not in TITLES and len(word) > 1]
    if not 1 <= len(words) <= MOST_WORDS or NOT_PEOPLE.intersection(words) or sum(map(str.isdigit, plain)) > 4:
        return False
    return bool(GIVEN_NAMES.intersection(words[:1]) or ("," in plain and GIVEN_NAMES.intersection(words[1:])))
