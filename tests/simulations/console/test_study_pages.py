"""The study pages of a coordinator's console: a table comes in, a draft is changed, saved and simulated."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.errors import StudyError
from common.study.study import read_study
from simulations.console.uploads import decode_table
from simulations.console.workspace import STUDY
from simulations.experiments.console_load import wide_table
from tests.simulations.test_drafting import stays
from tests.testbeds.command_line import fedsynth
from tests.testbeds.consoles import Visitor, study_console, visiting
from tests.testbeds.forms import forms_of
from tests.testbeds.visits import invented_visits


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "icu.csv"
    stays().assign(email=[f"p{row}@example.org" for row in range(200)]).to_csv(path, index=False)
    return path


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    with visiting(study_console(tmp_path / "studies")) as opened:
        yield opened


def send(visitor: Visitor, page: str, action: str, **changes: str) -> httpx.Response:
    """Send a form of a page as it is, but for some fields."""
    fields = forms_of(visitor.get(page).text)[action]
    return visitor.post(f"{page}/{action}" if not page.endswith(action) else page, page=page, **(fields | changes))


def take(visitor: Visitor, table: Path, **changes: str) -> httpx.Response:
    return send(visitor, "/studies", "studies", table_path=str(table), public="yes", **changes)


def drafted(visitor: Visitor, table: Path) -> None:
    assert take(visitor, table).headers["location"].endswith("/studies/icu")
    answer = send(visitor, "/studies/icu", "draft", draft_target="died", patient_column="patient")
    assert answer.status_code == 303, answer.text


def test_a_table_is_taken_by_its_path(visitor: Visitor, table: Path) -> None:
    drafted(visitor, table)
    page = html.unescape(visitor.get("/studies/icu").text)
    assert "it names the patient" in page
    assert "direct identifier" in page
    assert "no epsilon covers" in page
    assert "p1@example.org" not in page


def test_a_table_is_taken_from_the_browser(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    content = base64.urlsafe_b64encode(table.read_bytes()).decode()
    answer = send(visitor, "/studies", "studies", content=content, file_name="../../icu.CSV", public="yes")
    assert answer.headers["location"].endswith("/studies/icu")
    assert (tmp_path / "studies" / "icu" / "table.csv").read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"public": ""}, "tick the box"),
        ({"table_path": ""}, "one of the two"),
        ({"table_path": "/none/table.csv"}, "cannot use table"),
        ({"name": "My Study"}, "lower-case letters"),
        ({"name": "../icu"}, "lower-case letters"),
        ({"reading": "separator"}, "KEY=VALUE"),
        ({"table_path": "", "content": "A", "file_name": "t.csv"}, "did not arrive whole"),
        ({"table_path": "", "content": "QQ==", "file_name": "t.exe"}, "does not end in"),
        ({"table_path": "", "content": "/w==", "file_name": "t.xlsx"}, "cannot"),
        ({"table_path": "", "content": "QQ==", "file_name": "t.sql"}, "asks no database"),
        ({"table_path": "", "content": "QQ==", "file_name": "a\0.csv"}, "no path has"),
        ({"reading": "database=duckdb:////x.duckdb"}, "asks no database"),
        ({"reading": "schemas=cdm"}, "asks no database"),
        ({"table_path": "~no-such-account/t.csv"}, "name of no account"),
        ({"table_path": "/a\0/t.csv"}, "no path has"),
    ],
)
def test_a_table_that_cannot_be_used_is_said(
    visitor: Visitor, table: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    fields = {"table_path": str(table), "public": "yes", **changes}
    answer = send(visitor, "/studies", "studies", **fields)
    assert answer.status_code == 400
    assert said in html.unescape(answer.text)
    assert not list((tmp_path / "studies").glob("*")), "nothing is left behind"


def test_a_name_is_taken_once(visitor: Visitor, table: Path) -> None:
    take(visitor, table)
    answer = take(visitor, table)
    assert answer.status_code == 400
    assert "already" in answer.text


def test_a_target_that_cannot_be_predicted_is_said_at_it(visitor: Visitor, table: Path) -> None:
    take(visitor, table)
    answer = send(visitor, "/studies/icu", "draft", draft_target="constant")
    assert answer.status_code == 400
    assert 'id="draft_target-note">target' in answer.text
    assert "choose another" in answer.text


def test_a_saved_study_is_what_the_command_drafts(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    answer = send(visitor, "/studies/icu", "save")
    assert answer.status_code == 303, answer.text
    options = ["--target", "died", "--patient-column", "patient", "--out", str(tmp_path / "by-command.toml")]
    fedsynth("study", "draft", str(table), *options)
    mine = tmp_path / "studies" / "icu" / STUDY
    assert read_study(mine) == read_study(tmp_path / "by-command.toml")
    assert mine.read_text() == (tmp_path / "by-command.toml").read_text()
    assert visitor.get("/studies/icu/study.toml").text == mine.read_text()


def test_a_wrong_field_says_so_and_keeps_what_was_written(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    answer = send(visitor, "/studies/icu", "save", epsilon="many", description="<b>ours</b>")
    assert answer.status_code == 400
    assert 'value="many"' in answer.text
    assert 'id="epsilon-note"' in answer.text
    assert "&lt;b&gt;ours" in answer.text
    assert not (tmp_path / "studies" / "icu" / STUDY).exists()


def test_another_kind_drafts_the_column_again(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    fields = forms_of(visitor.get("/studies/icu").text)["save"]
    stage = next(key for key, value in fields.items() if value == "0\n1\n2\n3").replace("categories", "kind")
    assert send(visitor, "/studies/icu", "save", **{stage: "numeric", "left_out.stay": "identifier"}).status_code == 303
    study = read_study(tmp_path / "studies" / "icu" / STUDY)
    kinds = {column.name: column.kind for column in study.declared.columns}
    assert kinds["stage"] == "numeric"
    assert kinds["stay"] == "identifier"


def test_a_kind_that_does_not_fit_is_said_at_its_column(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    answer = send(visitor, "/studies/icu", "save", **{"left_out.email": "categorical"})
    assert answer.status_code == 400
    assert "which a draft never reads" in answer.text
    assert not (tmp_path / "studies" / "icu" / STUDY).exists()


def test_a_kind_of_the_patient_column_is_said_at_it(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    answer = send(visitor, "/studies/icu", "save", **{"left_out.patient": "numeric"})
    assert answer.status_code == 400
    assert "it names the patient; draft again without it" in html.unescape(answer.text)
    assert not (tmp_path / "studies" / "icu" / STUDY).exists()


def test_a_form_of_an_earlier_draft_is_refused(visitor: Visitor, table: Path) -> None:
    drafted(visitor, table)
    fields = forms_of(visitor.get("/studies/icu").text)["save"]
    assert visitor.post("/studies/icu/save", page="/studies/icu", **(fields | {"epsilon": "1"})).status_code == 303
    answer = visitor.post("/studies/icu/save", page="/studies/icu", **(fields | {"epsilon": "2"}))
    assert answer.status_code == 400
    assert "load it again" in answer.text


def test_names_of_columns_are_escaped(visitor: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    stays().rename(columns={"age": "<script>alert(1)</script>", "note": '"><img src=x>'}).to_csv(path, index=False)
    take(visitor, path)
    page = visitor.get("/studies/odd").text
    assert send(visitor, "/studies/odd", "draft", draft_target="died").status_code == 303
    for text in (page, visitor.get("/studies/odd").text):
        assert "<script>alert" not in text
        assert "<img" not in text


def test_a_damaged_draft_is_said(visitor: Visitor, table: Path, tmp_path: Path) -> None:
    drafted(visitor, table)
    (tmp_path / "studies" / "icu" / "draft.json").write_text("{")
    answer = visitor.get("/studies/icu")
    assert answer.status_code == 400
    assert "is damaged" in answer.text
    assert visitor.get("/studies").status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hospitals": "many"}, "whole number"),
        ({"hospitals": "900"}, "below the minimum"),
        ({"small_hospitals": "hide"}, "are refused, merged or left out; choose one of these"),
    ],
)
def test_what_cannot_be_simulated_is_said_before(
    visitor: Visitor, table: Path, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    drafted(visitor, table)
    send(visitor, "/studies/icu", "save")
    answer = send(visitor, "/studies/icu", "simulate", **changes)
    assert answer.status_code == 400
    assert said in answer.text
    assert not list((tmp_path / "studies" / "icu").glob("simulations/*"))


def test_read_only_shows_and_changes_nothing(tmp_path: Path, table: Path) -> None:
    with visiting(study_console(tmp_path / "studies")) as writer:
        drafted(writer, table)
    with visiting(study_console(tmp_path / "studies", is_read_only=True)) as reader:
        assert "/save" in reader.get("/studies/icu").text
        assert "Save and check" not in reader.get("/studies/icu").text
        assert reader.post("/studies", form_token="x").status_code == 403


def test_a_larger_table_than_a_browser_sends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.console.uploads.MOST_TABLE_BYTES", 3)
    assert decode_table("QUJD") == b"ABC"
    with pytest.raises(StudyError, match="has more than 0 MB; give its path on this machine"):
        decode_table("QUJDRA==")


def test_a_study_that_was_not_saved_is_no_download(visitor: Visitor, table: Path) -> None:
    drafted(visitor, table)
    assert visitor.get("/studies/icu/study.toml").status_code == 404


@pytest.mark.parametrize("name", ["none", "%2e%2e", "icu%00"])
def test_a_study_that_is_none_has_no_page(visitor: Visitor, name: str) -> None:
    assert visitor.get(f"/studies/{name}").status_code == 404


def test_a_wide_study_is_shown_in_parts(visitor: Visitor, tmp_path: Path) -> None:
    wide_table(131, 60).to_csv(tmp_path / "wide.csv", index=False)
    take(visitor, tmp_path / "wide.csv")
    assert send(visitor, "/studies/wide", "draft", draft_target="died").status_code == 303
    first = visitor.get("/studies/wide").text
    assert 'name="column.99.kind"' in first
    assert 'name="column.100.kind"' not in first
    fields = forms_of(visitor.get("/studies/wide?first=100").text)["save"]
    assert {key for key in fields if key.endswith(".kind")} == {f"column.{index}.kind" for index in range(100, 131)}
    del fields["column.100.keep"]
    fields["column.101.upper"] = "123"
    answer = visitor.post("/studies/wide/save", page="/studies/wide", **fields)
    assert "?first=100" in answer.headers["location"]
    columns = read_study(tmp_path / "studies" / "wide" / STUDY).declared.columns
    assert [column.name for column in columns] == [*(f"c{number}" for number in range(130) if number != 100), "died"]
    assert columns[100].model_dump()["upper"] == 123
    assert visitor.get("/studies/wide?first=99999999").status_code == 200


class TestVisits:
    @pytest.fixture
    def visits(self, tmp_path: Path) -> Path:
        path = tmp_path / "ward.csv"
        invented_visits(60).assign(ward="a").to_csv(path, index=False)
        return path

    def test_a_study_of_visits_is_what_the_command_drafts(self, visitor: Visitor, visits: Path, tmp_path: Path) -> None:
        take(visitor, visits)
        roles = {"draft_target": "stage", "time_column": "day", "draft_most_visits": "3", "site_column": "ward"}
        answer = send(visitor, "/studies/ward", "draft", patient_column="id", **roles)
        assert answer.status_code == 303, answer.text
        page = html.unescape(visitor.get("/studies/ward").text)
        assert "At most 3 visits of a patient are counted" in page
        assert "The same at all visits of a patient: sex." in page
        assert send(visitor, "/studies/ward", "save").status_code == 303
        options = ["--target", "stage", "--patient-column", "id", "--site-column", "ward", "--time", "day"]
        out = tmp_path / "by-command.toml"
        fedsynth("study", "draft", str(visits), *options, "--most-visits", "3", "--out", str(out))
        assert (tmp_path / "studies" / "ward" / STUDY).read_text() == out.read_text()

    def test_rules_and_courses_are_added_as_lines(self, visitor: Visitor, visits: Path, tmp_path: Path) -> None:
        take(visitor, visits)
        send(visitor, "/studies/ward", "draft", draft_target="stage", time_column="day", patient_column="id")
        wrong = send(visitor, "/studies/ward", "save", rules="stage never sinks")
        assert wrong.status_code == 400
        assert "is no rule" in wrong.text
        assert send(visitor, "/studies/ward", "save", rules="stage never decreases").status_code == 303
        assert "From visit to visit: stage never decreases." in visitor.get("/studies/ward").text
        assert read_study(tmp_path / "studies" / "ward" / STUDY).courses[0].never == "decreases"

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"time_column": "sex"}, "cannot be read"),
            ({"time_column": "id"}, "is also the time"),
            ({"time_column": "", "draft_most_visits": "3"}, "add --time"),
            ({"draft_most_visits": "-1"}, "whole number"),
            ({"draft_most_visits": "99"}, "most_visits"),
        ],
    )
    def test_visits_that_do_not_fit_are_said(
        self, visitor: Visitor, visits: Path, changes: dict[str, str], said: str
    ) -> None:
        take(visitor, visits)
        fields = {"draft_target": "stage", "time_column": "day", "patient_column": "id", **changes}
        answer = send(visitor, "/studies/ward", "draft", **fields)
        assert answer.status_code == 400
        assert said in html.unescape(answer.text)

    def test_a_time_that_only_orders_has_no_other_kind(self, visitor: Visitor, tmp_path: Path) -> None:
        raw = invented_visits(60)
        raw.assign(visit_id=[str(10_000 + row) for row in range(len(raw))]).to_csv(tmp_path / "ids.csv", index=False)
        take(visitor, tmp_path / "ids.csv")
        send(visitor, "/studies/ids", "draft", draft_target="stage", time_column="visit_id", patient_column="id")
        assert "only orders the visits" in visitor.get("/studies/ids").text
        answer = send(visitor, "/studies/ids", "save", **{"left_out.visit_id": "categorical"})
        assert answer.status_code == 400
        assert "as the time of the visits" in html.unescape(answer.text)
