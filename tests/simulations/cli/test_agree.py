"""`study agree` and `site dictionary`: exit codes, what is written, and that no record is read."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import click
import pytest
import tomli_w
import typer

from common.harmonization.mapping import read_mapping
from common.harmonization.source import open_source
from common.study.study import read_study
from common.tables.parts import join
from simulations.cli.main import app
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.dictionaries import dictionary, labeled, numeric, write

SCRIPT = "<script>alert('x')</script>"


class Opened:
    """The files that this process opens below a folder, by the interpreter's audit events."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names, self.is_on = str(folder), set[str](), True
        sys.addaudithook(self._note)  # a hook stays for good, so it can be switched off

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and event == "open" and str(arguments[0]).startswith(self.folder):
            self.names.add(Path(str(arguments[0])).name)


class TestAgree:
    def test_agree_ends_with_0_where_nothing_is_open(self, tmp_path: Path) -> None:
        columns = (numeric("age"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml")
        assert result.exit_code == 0, output_of(result)
        assert read_study(tmp_path / "trial.toml").name == "trial"

    def test_agree_ends_with_7_and_writes_proposals(self, tmp_path: Path) -> None:
        files = write(
            tmp_path,
            dictionary("north", numeric("age", unit="years"), labeled("sex", "m", "f")),
            dictionary("south", numeric("age", unit="months"), labeled("sex", "m", "f")),
        )
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--page", tmp_path / "p.html")
        assert result.exit_code == 7, output_of(result)
        assert "DECIDE unit: take years" in (tmp_path / "trial.toml").read_text(encoding="utf-8")
        assert "convert months to years in the mapping file" in output_of(result)
        assert "convert months to years" in (tmp_path / "p.html").read_text(encoding="utf-8")

    def test_agree_strict_writes_the_page_and_no_study(self, tmp_path: Path) -> None:
        files = write(tmp_path, dictionary("n", numeric("age")), dictionary("s", labeled("age", "young", "old")))
        out, page = tmp_path / "trial.toml", tmp_path / "p.html"
        result = fedsynth("study", "agree", *files, "--out", out, "--page", page, "--strict")
        assert result.exit_code == 7
        assert not out.exists()
        assert page.exists()

    def test_agree_without_common_columns_writes_nothing(self, tmp_path: Path) -> None:
        files = write(tmp_path, dictionary("n", numeric("age")), dictionary("s", labeled("sex", "m", "f")))
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml")
        assert result.exit_code == 7
        assert "fewer than 2 columns that are read from records are ready" in output_of(result)
        assert not (tmp_path / "trial.toml").exists()

    def test_agree_refuses_a_target_that_is_left_out(self, tmp_path: Path) -> None:
        columns = (numeric("age"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("n", *columns, numeric("x")), dictionary("s", *columns))
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--target", "x")
        assert result.exit_code == 2
        assert "target 'x' is not in the schema" in output_of(result)

    def test_agree_keeps_an_existing_file(self, tmp_path: Path) -> None:
        columns = (numeric("age"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        (tmp_path / "trial.toml").write_text("mine", encoding="utf-8")
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml")
        assert result.exit_code == 2
        assert (tmp_path / "trial.toml").read_text(encoding="utf-8") == "mine"

    def test_the_page_escapes_every_text(self, tmp_path: Path) -> None:
        column = labeled(SCRIPT, SCRIPT, "b", description=SCRIPT, meanings={"b": SCRIPT})
        other = labeled(SCRIPT, "b", "c")
        files = write(tmp_path, dictionary("n", column, numeric("x")), dictionary("s", other, numeric("x")))
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--page", tmp_path / "p.html")
        assert result.exit_code == 7, output_of(result)
        page = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert "<script" not in page.lower()
        assert "&lt;script&gt;" in page
        assert read_study(tmp_path / "trial.toml").table.columns[0].name == SCRIPT

    def test_the_page_fetches_nothing(self, tmp_path: Path) -> None:
        columns = (numeric("age"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--page", tmp_path / "p.html")
        page = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert "default-src 'none'" in page
        assert not [word for word in ("http://", "https://", "src=", "url(") if word in page]

    def test_agree_warns_of_direct_identifiers(self, tmp_path: Path) -> None:
        columns = (labeled("last_name", "Hansen", "Olsen"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        result = fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml")
        assert result.exit_code == 0, output_of(result)
        assert " warning column 'last_name'" in output_of(result)


class TestNoRecordIsRead:
    def test_agree_opens_the_dictionaries_alone(self, tmp_path: Path) -> None:
        columns = (numeric("age"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        (tmp_path / "north.csv").write_text("age,sex\n70,m\n", encoding="utf-8")
        opened = Opened(tmp_path)
        fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--page", tmp_path / "p.html")
        opened.is_on = False
        read = {name for name in opened.names if not name.endswith(".partial")}
        assert {"north.toml", "south.toml"} <= read
        assert "north.csv" not in read

    @pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
    def test_agree_refuses_a_table_without_quoting_it(self, tmp_path: Path, suffix: str) -> None:
        table = tmp_path / f"north.{suffix}"
        table.write_text("name,age\nKari Nordmann,77\n", encoding="utf-8")
        result = fedsynth("study", "agree", table, table, "--out", tmp_path / "trial.toml")
        assert result.exit_code == 2
        assert "Kari" not in output_of(result)
        assert "never a table of patients" in output_of(result)

    @pytest.mark.parametrize("words", [("study", "agree"), ("site", "dictionary")])
    def test_no_option_takes_a_table(self, words: tuple[str, str]) -> None:
        group = typer.main.get_command(app)
        for word in words:
            assert isinstance(group, click.Group)
            command = group.get_command(click.Context(group), word)
            assert command is not None
            group = command
        options = {parameter.name for parameter in group.params}
        assert not options & {"data", "table", "read", "site", "patient_column", "site_column"}


class TestDictionaryCommand:
    def test_dictionary_writes_a_form_once(self, tmp_path: Path) -> None:
        out = tmp_path / "north.toml"
        assert fedsynth("site", "dictionary", "--hospital", "north", "--out", out).exit_code == 0
        assert 'hospital = "north"' in out.read_text(encoding="utf-8")
        assert fedsynth("site", "dictionary", "--hospital", "north", "--out", out).exit_code == 2

    def test_dictionary_imports_a_description(self, tmp_path: Path) -> None:
        schema, out = tmp_path / "schema.json", tmp_path / "north.toml"
        schema.write_text('{"fields": [{"name": "age", "type": "integer"}, {"name": "at", "type": "time"}]}', "utf-8")
        result = fedsynth("site", "dictionary", "--hospital", "north", "--from", schema, "--out", out)
        assert result.exit_code == 0, output_of(result)
        assert "note: column 'at' is left out: no column holds the type 'time'" in output_of(result)
        text = out.read_text(encoding="utf-8")
        assert "# column 'at' is left out" in text
        assert 'source = "Frictionless Table Schema: schema.json"' in text

    def test_dictionary_refuses_a_table(self, tmp_path: Path) -> None:
        table, out = tmp_path / "north.csv", tmp_path / "north.toml"
        table.write_text("name,age\nKari Nordmann,77\n", encoding="utf-8")
        result = fedsynth("site", "dictionary", "--hospital", "north", "--from", table, "--out", out)
        assert result.exit_code == 2
        assert "never a table of patients" in output_of(result)
        assert "Kari" not in output_of(result)
        assert not out.exists()

    @pytest.mark.parametrize("words", [("--standard", "sdv"), ("--from", "x.json", "--standard", "xml")])
    def test_dictionary_refuses_a_format_without_use(self, tmp_path: Path, words: tuple[str, ...]) -> None:
        result = fedsynth("site", "dictionary", "--hospital", "north", "--out", tmp_path / "n.toml", *words)
        assert result.exit_code == 2
        assert "--standard names the standard of --from" in output_of(result)


class TestExport:
    @pytest.mark.parametrize("name", ["sdv", "frictionless", "json-schema"])
    def test_export_writes_what_dictionary_reads(self, tmp_path: Path, name: str) -> None:
        columns = (numeric("age", unit="years"), labeled("sex", "m", "f"))
        files = write(tmp_path, dictionary("north", *columns), dictionary("south", *columns))
        fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml")
        out = tmp_path / "schema.json"
        result = fedsynth("study", "export", tmp_path / "trial.toml", "--to", name, "--out", out)
        assert result.exit_code == 0, output_of(result)
        assert "unit" in output_of(result)
        result = fedsynth("site", "dictionary", "--hospital", "x", "--from", out, "--out", tmp_path / "x.toml")
        assert result.exit_code == 0, output_of(result)

    def test_export_refuses_an_unknown_format(self, tmp_path: Path) -> None:
        result = fedsynth("study", "export", tmp_path / "t.toml", "--to", "redcap", "--out", tmp_path / "x")
        assert result.exit_code == 2
        assert "choose from sdv, frictionless, json-schema" in output_of(result)


class TestMappings:
    """The first mapping of every hospital."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        sex = {"1": "male", "2": "female"}
        date = {"name": "day", "kind": "date", "lower": "2020-01-01", "upper": "2020-12-31"}
        german = {"date_format": "%d.%m.%Y", "lower": "01.01.2020", "upper": "31.12.2020"}
        files = write(
            tmp_path,
            dictionary("north", labeled("sex", "1", "2", meanings=sex), numeric("weight", unit="kg", decimals=1), date,
                       numeric("crea", unit="mg/dL"), numeric("height", unit="cm"),
                       {"name": "died", "kind": "boolean"}),
            dictionary("北", labeled("Sex", "M", "F", meanings={"M": "male", "F": "female"}), date | german,
                       numeric("weight", unit="g"), numeric("crea", unit="mmol/L"), numeric("height"),
                       {"name": "died", "kind": "boolean", "true": "Da", "false": "Net"}),
        )  # fmt: skip
        words = ("--out", tmp_path / "trial.toml", "--mappings", tmp_path / "maps")
        result = fedsynth("study", "agree", *files, *words)
        assert result.exit_code == 7, output_of(result)
        return tmp_path / "maps"

    def test_mappings_hold_what_dictionaries_know(self, folder: Path) -> None:
        assert [path.name for path in sorted(folder.iterdir())] == ["hospital-2.toml", "north.toml"]
        mapping, _ = read_mapping(folder / "hospital-2.toml")
        columns = mapping.columns
        assert columns["sex"].sources == ("Sex",)
        assert columns["sex"].model_dump()["labels"] == {"M": "1", "F": "2"}
        assert columns["day"].model_dump()["study_format"] == "%Y-%m-%d"
        assert columns["weight"].model_dump()["study_unit"] == "kg"
        assert columns["died"].model_dump()["labels"] == {"Da": "yes", "Net": "no"}
        north, _ = read_mapping(folder / "north.toml")
        assert {recipe.operation for recipe in north.columns.values()} == {"copy"}

    def test_mappings_leave_open_what_they_cannot_know(self, folder: Path) -> None:
        mapping, _ = read_mapping(folder / "hospital-2.toml")
        assert not {"crea", "height"} & set(mapping.columns)
        text = (folder / "hospital-2.toml").read_text(encoding="utf-8")
        assert "# OPEN: 'mmol/L' cannot be converted to 'mg/dL'" in text
        assert "# OPEN: the study's unit is cm, and your dictionary gives none: confirm it or convert" in text

    def test_another_kind_is_left_to_a_person(self, tmp_path: Path) -> None:
        sex = labeled("sex", "m", "f")
        files = write(tmp_path, dictionary("north", numeric("age"), sex),
                      dictionary("south", labeled("age", "young", "old"), sex))  # fmt: skip
        fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--mappings", tmp_path / "maps")
        texts = " ".join(path.read_text(encoding="utf-8") for path in (tmp_path / "maps").iterdir())
        assert (
            "# OPEN: yours is categorical, and the study's numeric: choose an operation of docs/harmonize.md" in texts
        )

    def test_a_label_of_two_meanings_is_left_to_a_person(self, tmp_path: Path) -> None:
        files = write(
            tmp_path,
            dictionary("north", labeled("sex", "1", "2", meanings={"1": "male", "2": "female"}), numeric("age")),
            dictionary("south", labeled("sex", "1", "3", meanings={"1": "diverse"}), numeric("age")),
        )
        fedsynth("study", "agree", *files, "--out", tmp_path / "trial.toml", "--mappings", tmp_path / "maps")
        text = (tmp_path / "maps" / "south.toml").read_text(encoding="utf-8")
        assert "# OPEN: a label means something else at another hospital: choose the study's label for it" in text

    @pytest.mark.parametrize("word", ["Jahre", "ans", "años", "anos", "Jahr"])
    def test_a_word_for_the_unit_is_not_converted(self, tmp_path: Path, word: str) -> None:
        text = self.mapping_of_south(tmp_path, "years", word)
        assert '[columns.age]\nfrom = "age"' in text
        assert f"# write the unit as years instead of {word}; values stay" in text
        assert "convert" not in text

    @pytest.mark.parametrize(
        ("agreed", "own"), [("years", "Lebensjahre"), ("Lebensjahre", "years"), ("Score", "Punkte")]
    )
    def test_a_text_that_is_no_unit_stays_open(self, tmp_path: Path, agreed: str, own: str) -> None:
        text = self.mapping_of_south(tmp_path, agreed, own)
        assert "is not a unit" in text.partition("# OPEN: ")[2]
        assert f'# unit = "{own}"' in text
        assert f'\nunit = "{own}"' not in text

    @staticmethod
    def mapping_of_south(folder: Path, agreed: str, own: str) -> str:
        sex = labeled("sex", "m", "f")
        files = write(folder, dictionary("north", numeric("age", unit=agreed), sex),
                      dictionary("south", numeric("age", unit=own), sex))  # fmt: skip
        fedsynth("study", "agree", *files, "--out", folder / "trial.toml", "--mappings", folder / "maps")
        return (folder / "maps" / "south.toml").read_text(encoding="utf-8")

    def test_a_column_that_is_lacked_is_missing(self, tmp_path: Path) -> None:
        shared = labeled("sex", "m", "f")
        files = write(tmp_path, dictionary("n", shared, numeric("x")), dictionary("s", shared))
        words = ("--out", tmp_path / "trial.toml", "--mappings", tmp_path / "maps", "--keep-partial")
        fedsynth("study", "agree", *files, *words)
        mapping, _ = read_mapping(tmp_path / "maps" / "s.toml")
        assert mapping.columns["x"].model_dump()["operation"] == "constant"

    def test_mapped_tables_of_hospitals_agree(self, folder: Path) -> None:
        north = "sex,weight,day,died\n1,70.5,2020-03-01,yes\n2,60.0,2020-04-02,no\n"
        south = "Sex,weight,day,died\nM,70500,01.03.2020,Da\nF,60000,02.04.2020,Net\n"
        (folder / "north.csv").write_text(north, encoding="utf-8")
        (folder / "south.csv").write_text(south, encoding="utf-8")
        columns = ["sex", "weight", "day", "died"]
        tables = []
        for table, file in (("north", "north"), ("south", "hospital-2")):
            document = tomllib.loads((folder / f"{file}.toml").read_text(encoding="utf-8"))
            kept = {column: document["columns"][column] for column in columns}
            (folder / f"{table}-map.toml").write_text(tomli_w.dumps({"columns": kept}), encoding="utf-8")
            tables.append(join(list(open_source(folder / f"{table}.csv", folder / f"{table}-map.toml").parts())))
        assert [tables[0][column].tolist() for column in ("sex", "day", "died")] == [
            tables[1][column].tolist() for column in ("sex", "day", "died")
        ]
        assert [float(cell) for cell in tables[1]["weight"]] == [70.5, 60.0]
