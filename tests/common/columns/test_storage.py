"""Columns of short floating point: what storage adds is neither synthesized nor lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from common.columns.drafting import ColumnEvidence, Draft
from common.columns.numeric import Numeric
from common.columns.storage import STORED, Storage, find_storage, text_of

PH = Numeric(name="ph", lower=6.8, upper=7.8, decimals=2, stored="sas3", written_decimals=6)


class TestStored:
    def test_three_bytes_cut_a_double(self) -> None:
        held = STORED["sas3"](np.array([7.45, 1.2, -0.9, 0.0, 100.0]))
        assert held.tolist() == [7.44921875, 1.199951171875, -0.89990234375, 0.0, 100.0]

    @pytest.mark.parametrize("storage", sorted(STORED))
    def test_held_numbers_stay(self, storage: Storage) -> None:
        held = STORED[storage](np.random.default_rng(0).normal(0, 50, 1000))
        assert (STORED[storage](held) == held).all()

    def test_numbers_have_at_most_nine_digits(self) -> None:
        assert text_of("sas3", 11.19921875, 8) == "11.1992188"
        assert text_of("sas3", 36.0, 5) == "36.0"
        assert text_of("sas3", 0.0, 5) == "0.0"


class TestColumn:
    def test_text_comes_back_as_it_came(self) -> None:
        cells = ["7.449219", "7.429688", "7.0", ""]
        column = PH.model_copy(update={"missing": True})
        values = column.conform(cells)
        assert values[:3].tolist() == [7.45, 7.43, 7.0]
        assert column.format(pd.Series(values)).tolist() == cells

    def test_stored_numbers_have_no_surplus_decimals(self) -> None:
        assert PH.check(["7.449219", "7.0"]) == []
        assert "more than 2 decimals" in PH.check(["7.4512"])[0]

    def test_storage_that_blurs_decimals_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="'glucose': sas3 does not tell numbers of 2 decimals apart"):
            Numeric(name="glucose", lower=0, upper=2000, decimals=2, stored="sas3", written_decimals=8)

    def test_storage_without_decimals_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="stored and written_decimals come together"):
            Numeric(name="ph", lower=6, upper=8, decimals=2, stored="sas3")


class TestFind:
    def test_one_odd_number_is_no_storage(self) -> None:
        numbers = np.array([*[7.1, 7.2, 7.3, 7.5] * 50, 7.40234])
        assert find_storage(numbers, 5) is None

    @pytest.mark.parametrize("storage", ["sas3", "float16", "float32"])
    def test_storage_is_found(self, storage: Storage) -> None:
        plain = np.round(np.random.default_rng(1).normal(4.1, 0.6, 500), 1)
        cells = [text_of(storage, number, 8) for number in plain.tolist()]
        numbers = np.array([float(cell) for cell in cells])
        assert find_storage(numbers, 8) == (storage, 1)

    def test_measurements_of_many_decimals_have_none(self) -> None:
        assert find_storage(np.random.default_rng(2).normal(4.1, 0.6, 500).round(6), 6) is None

    def test_draft_names_the_storage(self) -> None:
        plain = np.round(np.random.default_rng(3).normal(7.4, 0.1, 500), 2)
        cells = [text_of("sas3", number, 6) for number in plain.tolist()]
        draft = Numeric.draft(ColumnEvidence(cells, name="ph"))
        assert isinstance(draft, Draft)
        settings = draft.settings
        assert (settings["decimals"], settings["stored"], settings["written_decimals"]) == (2, "sas3", 6)
