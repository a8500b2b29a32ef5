"""Look up concepts by their names in the vocabulary of an OMOP database. No table with records is read."""

from __future__ import annotations

from typing import Any

from common.errors import DataError
from common.omop.proposing import DOMAINS, ConceptMatch
from common.tables.database import connected
from common.tables.extras import load
from common.tables.reading import Reading

FIND = """
SELECT concept.concept_id, concept.concept_name, concept.domain_id, (
  SELECT COUNT(*)
  FROM concept_ancestor
  WHERE ancestor_concept_id = concept.concept_id AND descendant_concept_id <> concept.concept_id)
FROM concept
WHERE standard_concept = 'S' AND domain_id IN ({domains}) AND {words}
ORDER BY LENGTH(concept.concept_name), concept.concept_id
LIMIT 200
"""


def find_concepts(text: str, reading: Reading) -> list[ConceptMatch]:
    """Return standard concepts whose names hold every word of a text, in capitals or not; the shortest 200.

    Args:
        text: what a person wrote.
        reading: names the database.

    Raises:
        DataError: the database cannot be read, has no vocabulary, or no such concept.
    """
    sqlalchemy = load("sqlalchemy", "database")
    words = [_escaped(word) for word in text.lower().split()]
    if not words:
        raise DataError("a concept is looked up by its name; give a word of it")
    conditions = " AND ".join(f"LOWER(concept_name) LIKE :word{n} ESCAPE '!'" for n in range(len(words)))
    query = FIND.format(domains=", ".join(f"'{domain}'" for domain in DOMAINS), words=conditions)
    values: dict[str, Any] = {f"word{n}": f"%{word}%" for n, word in enumerate(words)}
    with connected(reading) as connection:
        rows = connection.execute(sqlalchemy.text(query), values).fetchall()
    if not rows:
        raise DataError(f"no standard concept has {text!r} in its name; try fewer words, or look at athena.ohdsi.org")
    return [ConceptMatch(int(concept), str(name), str(domain), int(below)) for concept, name, domain, below in rows]


def _escaped(word: str) -> str:
    return word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
