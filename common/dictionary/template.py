"""An empty dictionary file with comments: what a person who has only the data dictionary at hand fills in."""

from __future__ import annotations

import tomli_w

COMMENTS = """
# Describe each column of your table once, from the data dictionary: never by looking at records. Nothing in this file
# may be a count or come from patients. Kinds and all their settings: docs/columns.md.
# Leave out what the data dictionary does not say, such as bounds: `fedsynth study agree` then asks for it.
# Remove the # in front of the lines that you use, and copy a section for each further column.

# [[columns]]
# name = "age"                          # as in your table; the mapping file may rename it
# kind = "numeric"
# lower = 18
# upper = 110
# decimals = 0
# unit = "years"
# missing = false                       # may it be missing?
# description = "Age at admission"

# [[columns]]
# name = "sex"
# kind = "categorical"
# categories = ["1", "2"]               # the labels exactly as the table has them
# meanings = { 1 = "male", 2 = "female" }

# [[columns]]
# name = "diabetes"
# kind = "boolean"
# true = "yes"
# false = "no"

# [[columns]]
# name = "admitted"
# kind = "date"
# date_format = "%d.%m.%Y"
# lower = "01.01.2015"
# upper = "31.12.2024"

# [[columns]]
# name = "discharged"
# kind = "date"
# date_format = "%d.%m.%Y"
# since = "admitted"                    # days since another date of the same row
# least = 0
# most = 365

# [[columns]]
# name = "diagnosis"
# kind = "code"
# codes = ["I10", "I25.0", "I25.1"]
# prefixes = [1, 3]

# [[columns]]
# name = "drugs"
# kind = "set"                          # several items in one cell
# items = ["aspirin", "statin"]
# separator = "; "

# [[columns]]
# name = "film"
# kind = "image"                        # cells hold the paths of image files
# size = [28, 28]                       # rows and columns of pixels

# [[columns]]
# name = "record"
# kind = "identifier"                   # never read from records
# pattern = "P-######"
"""


def template(hospital: str) -> str:
    """Return the text of a dictionary file without columns."""
    return tomli_w.dumps({"dictionary": {"hospital": hospital}}) + COMMENTS
