from __future__ import annotations

import json
import logging
from pathlib import Path

from client.agent.journal import FIELDS, MOST_TEXT, JournalFormatter, Metrics

HOSTILE = 'run-1"}\n{"level": "info", "message": "forged"}\x1b[2J\u202e'


def line(message: str, *arguments: object, **attributes: object) -> str:
    record = logging.LogRecord("client", logging.INFO, "file", 1, message, arguments, None)
    record.__dict__.update(attributes)
    return JournalFormatter().format(record)


def test_a_text_from_outside_cannot_forge_a_line() -> None:
    text = line("refused %s", HOSTILE, **{FIELDS: {"run": HOSTILE}})
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert json.loads(text)["run"] == HOSTILE


def test_a_long_text_is_cut() -> None:
    written = json.loads(line("%s", "x" * 10_000, **{FIELDS: {"version": "y" * 10_000}}))
    assert len(written["message"]) == len(written["version"]) == MOST_TEXT


def test_of_an_exception_only_its_kind_is_written() -> None:
    problem = ValueError("could not convert string to float: 'canary-4711'")
    text = line("failed", exc_info=(ValueError, problem, None))
    assert "canary" not in text
    assert json.loads(text)["exception"] == "ValueError"


def test_metrics_count_requests_by_kind_and_outcome(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.json")
    for outcome in ("answered", "answered", "unavailable"):
        metrics.count("train.round", outcome)
    metrics.write(epsilon=1.5)
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert written["requests"] == {"train.round": {"answered": 2, "unavailable": 1}}
    assert written["epsilon"] == 1.5
    assert written["last_contact"] >= written["started"]
    assert (tmp_path / "metrics.json").stat().st_mode & 0o777 == 0o600


def test_metrics_that_cannot_be_written_stop_nothing(tmp_path: Path) -> None:
    Metrics(tmp_path / "missing" / "metrics.json").write()
