"""Rules and courses as lines of a form."""

from __future__ import annotations

import pytest

from simulations.console.rule_lines import read_rule_lines, rule_lines

RULES = [{"left": "low", "relation": "<=", "right": "high"}]
COURSES = [{"column": "stage", "never": "decreases"}, {"column": "status", "ends_with": "dead"}]


def test_lines_say_rules_and_courses_and_are_read_back() -> None:
    lines = rule_lines(RULES, COURSES)
    assert lines == ["low <= high", "stage never decreases", "status ends with dead"]
    assert read_rule_lines("\n".join(lines), (), ()) == (RULES, COURSES, "")


def test_a_line_of_the_document_means_what_it_means_there() -> None:
    odd = [{"left": "a < b", "relation": ">", "right": "c"}]
    (line,) = rule_lines(odd, ())
    assert read_rule_lines(line, odd, ())[0] == odd
    assert read_rule_lines(line, (), ())[0] != odd


@pytest.mark.parametrize("text", ["low", "low = high", "low <", "stage never rises", "<script>"])
def test_a_line_that_is_no_rule_is_said(text: str) -> None:
    rules, courses, problem = read_rule_lines(f"low <= high\n{text}\n", (), ())
    assert (rules, courses) == (RULES, [])
    assert problem.startswith(f"'{text}' is no rule")
