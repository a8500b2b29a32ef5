"""Rules and courses of a study as lines that a person writes, such as `diastolic < systolic`, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from common.study.courses import Course
from common.study.rules import Rule

Entry = Mapping[str, Any]

RULE = re.compile(r"(?P<left>.+?) (?P<relation><=|>=|<|>) (?P<right>.+)")
COURSE = re.compile(r"(?P<column>.+) never (?P<never>decreases|increases)|(?P<ended>.+?) ends with (?P<ends_with>.+)")


def rule_lines(rules: Sequence[Entry], courses: Sequence[Entry]) -> list[str]:
    """Return one line for each rule and each course of a study's document."""
    return [
        *(str(Rule.model_validate(rule)) for rule in rules),
        *(str(Course.model_validate(each)) for each in courses),
    ]


def read_rule_lines(
    text: str, rules: Sequence[Entry], courses: Sequence[Entry]
) -> tuple[list[Entry], list[Entry], str]:
    """Return the rules and the courses that lines say, and what is wrong with the first line that says none; else "".

    A line that the document has already means what it means there, whatever the names of its columns look like.

    Args:
        text: what a person wrote.
        rules, courses: those of the document.
    """
    own_rules = dict(zip(rule_lines(rules, ()), rules, strict=True))
    own_courses = dict(zip(rule_lines((), courses), courses, strict=True))
    new_rules, new_courses, problem = list[Entry](), list[Entry](), ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line in own_rules:
            new_rules.append(own_rules[line])
        elif line in own_courses:
            new_courses.append(own_courses[line])
        elif (course := COURSE.fullmatch(line)) is not None:
            facts = {key: value for key, value in course.groupdict().items() if value is not None}
            column = facts.pop("ended", None) or facts["column"]
            new_courses.append({**facts, "column": column})
        elif (rule := RULE.fullmatch(line)) is not None:
            new_rules.append(rule.groupdict())
        else:
            problem = problem or f"'{line}' is no rule; write one such as a < b, a never decreases, or a ends with b"
    return new_rules, new_courses, problem
