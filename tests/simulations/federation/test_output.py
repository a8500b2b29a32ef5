"""What a simulation may remove from its output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.federation.output import check_output


@pytest.mark.parametrize("name", ["omop", "fhir"])
def test_check_output_removes_folders_of_exports_only(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "person.csv").write_text("person_id\n1\n")
    with pytest.raises(StudyError, match=f"holds '{name}', which is not from a simulation"):
        check_output(tmp_path, force=True)
    (tmp_path / name / "export.json").write_text("{}")
    assert check_output(tmp_path, force=True) == [name]


def test_a_folder_is_emptied_or_continued_in(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(StudyError, match="--force empties the folder that --resume continues in"):
        check_output(tmp_path, force=True, resume=True)
    assert (tmp_path / "kept").exists()
