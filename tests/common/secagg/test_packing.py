from __future__ import annotations

import numpy as np
import pytest

from common.errors import MaskingError
from common.secagg.packing import pack, pack_names, to_vector, unpack, unpack_names


class TestNames:
    def test_they_come_back_in_order(self) -> None:
        assert pack_names(["south", "north"]) == "north,south"
        assert unpack_names("north,south") == ("north", "south")
        assert unpack_names(pack_names([])) == ()

    @pytest.mark.parametrize("text", ["north,north", "south,north"])
    def test_repeated_or_unordered_ones_are_refused(self, text: str) -> None:
        with pytest.raises(MaskingError, match="repeat or are out of order"):
            unpack_names(text)


class TestParts:
    def test_they_come_back_by_name(self) -> None:
        parts = {"south": b"sss", "north": b"nnn"}
        packed = pack(parts)
        assert packed.tobytes() == b"nnnsss"
        assert unpack(packed, ["south", "north"], 3) == parts

    @pytest.mark.parametrize("vector", [to_vector(bytes(5)), to_vector(bytes(7)), np.zeros(6, dtype=np.int64)])
    def test_another_length_or_type_is_refused(self, vector: np.ndarray) -> None:
        with pytest.raises(MaskingError, match="2 hospitals does not have 3 bytes for each"):
            unpack(vector, ["south", "north"], 3)
