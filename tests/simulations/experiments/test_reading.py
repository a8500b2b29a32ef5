"""The measurement of how long tables take to read."""

from __future__ import annotations

from pathlib import Path

from common.tables.reading import Reading
from simulations.experiments.reading import read_once, write_tables
from tests.testbeds.databases import postgres


def test_every_format_has_all_rows(tmp_path: Path) -> None:
    with postgres() as url:
        for path in write_tables(tmp_path, 500, url):
            measured = read_once(path, Reading(database=url) if path.suffix == ".sql" else Reading())
            assert measured["rows"] == 500
            assert measured["mib"] > 0
