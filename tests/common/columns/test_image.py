from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from common.columns.image import Image
from common.errors import StudyError
from common.images.cells import pixels_text, scores_text
from tests.testbeds.images import images_study

GRAY = np.full((8, 9), 128, dtype=np.uint8)
WHITE = np.full((8, 9), 255, dtype=np.uint8)


def column(**settings: Any) -> Image:
    return Image.model_validate({"name": "film", "size": [8, 9], "scores": 2, **settings})


class TestReading:
    def test_scores_are_those_of_the_first_image(self) -> None:
        values = column().read([pixels_text([WHITE]), pixels_text([GRAY, WHITE]), scores_text([0.25, -0.1]), "a.png"])
        assert values["film: score 1"].tolist() == [0.5, 0.002, 0.25, 0.0]  # 128 / 255 - 1/2 = 0.00196
        assert values["film: score 2"].tolist() == [0.0, 0.0, -0.1, 0.0]

    def test_missing_is_the_first_score(self) -> None:
        image = column(missing=True)
        values = image.read(["", "a.png", pixels_text([WHITE])])
        assert np.isnan(values["film: score 1"]).tolist() == [True, True, False]
        assert values["film: score 2"].tolist() == [0.0, 0.0, 0.0]
        assert image.write(pd.DataFrame(values), {}).tolist() == ["", "", "scores 0.500 0.000"]

    def test_written_cells_are_read_back(self) -> None:
        image = column(missing=True)
        values = pd.DataFrame(image.invent(50, np.random.default_rng(0)))
        again = image.read(image.write(values, {}).tolist())
        pd.testing.assert_frame_equal(pd.DataFrame(again), values)

    def test_first_images_of_too_many_are_kept(self) -> None:
        described = column(most_images=2).describe([pixels_text([GRAY, WHITE, WHITE]), pixels_text([GRAY]), "x"])
        assert np.isnan(described[:, :, 0]).tolist() == [[False, False], [False, True], [True, True]]

    def test_no_cells_are_no_rows(self) -> None:
        assert column().describe([]).shape[0] == 0
        assert len(column().read([])["film: score 1"]) == 0

    def test_notices_count_what_is_left_out(self) -> None:
        cells = [pixels_text([GRAY] * 3), "a.png", pixels_text([GRAY, GRAY[:4]]), pixels_text([GRAY])]
        notices = column(most_images=2).check(cells)
        assert [text.split(" in 1 row")[0] for text in notices] == [
            "holds no image of 8 x 9 pixels",
            "holds images of another size than 8 x 9 beside others",
            "holds more than 2 images",
        ]
        assert column(missing=True).check(["", pixels_text([GRAY])]) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": [4, 8]}, "rows and columns of pixels, each from 8 to 64"),
        ({"size": [8, 128]}, "rows and columns of pixels, each from 8 to 64"),
        ({"frequencies": 2}, "more than scores"),
        ({"frequencies": 100}, "at most the pixels"),
        ({"channels": 3}, "Input should be 1"),
        ({"name": "x" * 125}, "too long"),
    ],
)
def test_faulty_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        column(**settings)


class TestStudy:
    def test_a_target_of_numbers_is_refused(self) -> None:
        with pytest.raises(StudyError, match="target of labels"):
            images_study(evaluation={"target": "film: score 1"})

    def test_a_second_column_of_images_is_refused(self) -> None:
        columns = images_study().model_dump(mode="json", by_alias=True, exclude_none=True)["schema"]["columns"]
        with pytest.raises(StudyError, match="second column of images"):
            images_study(schema={"columns": [*columns, {**columns[1], "name": "other"}]})

    def test_of_visits_is_refused(self) -> None:
        schema = images_study().model_dump(mode="json", by_alias=True, exclude_none=True)["schema"]
        day = {"name": "day", "kind": "numeric", "lower": 0, "upper": 9}
        visits = {"patient": "id", "time": "day", "most_visits": 2, "columns": [*schema["columns"], day]}
        with pytest.raises(StudyError, match="images are not available for tables of visits"):
            images_study(schema=visits, privacy={"unit": "patient"})

    def test_without_counted_columns_is_refused(self) -> None:
        with pytest.raises(StudyError, match="images need a synthesizer that counts marginals"):
            images_study(synthesizer={"kind": "marginal-gan", "marginal_weight": 0.0})

    def test_survives_its_file(self) -> None:
        from common.study.study import parse_study

        assert parse_study(images_study().to_toml()) == images_study()
