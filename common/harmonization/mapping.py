"""A mapping: how one hospital's own table becomes the columns of a study, as a file `mapping.toml` declares it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, SerializeAsAny, StringConstraints, ValidationError, model_validator

from common.columns.base import LONGEST_NAME
from common.errors import SiteError, cause_of
from common.harmonization.conventions import Conventions
from common.harmonization.conversions import Lookup
from common.harmonization.operations import OPERATIONS, parse_recipe
from common.harmonization.recipe import Format, Recipe
from common.harmonization.units import is_same
from common.settings import Frozen, Place, explain
from common.study.schema import Schema

LONGEST_FILE = 10**7
"""Most bytes of a mapping."""

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
Declared = Annotated[SerializeAsAny[Recipe], PlainValidator(parse_recipe)]


class Mapping(Frozen):
    """The content of a mapping. It stays at the hospital.

    Attributes:
        missing, decimal, thousands: how the hospital writes missing cells and numbers, in all columns.
        date_format: format of its dates, or several that are tried in order.
        keep_others: keep the local columns that no recipe reads, under their own names; otherwise they are left out.
        intermediate: columns that other recipes read and that do not enter the study, each after those it reads.
        columns: the columns of the study, by name, in the order of the harmonized table.
    """

    missing: tuple[str, ...] = Field(default=(), max_length=100, strict=False)
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    date_format: Format | Annotated[tuple[Format, ...], Field(min_length=1, max_length=10, strict=False)] = "%Y-%m-%d"
    keep_others: bool = False
    intermediate: dict[ColumnName, Declared] = Field(default={}, max_length=1000)
    columns: dict[ColumnName, Declared] = Field(min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        known: set[str] = set()
        for name, recipe in self.intermediate.items():
            late = [source for source in recipe.sources if source in self.intermediate and source not in known]
            if late:
                raise ValueError(
                    f"[intermediate.{name}] reads [intermediate.{late[0]}], which does not stand above it; move it up"
                )
            known.add(name)
        for section, name, recipe in self.recipes():
            conventions = recipe.own_conventions(self.conventions)
            if conventions.thousands == conventions.decimal:
                raise ValueError(
                    f"[{section}.{name}] decimal and thousands are the same mark; declare both, such as decimal = ',' "
                    "thousands = '.'"
                )
        return self

    @property
    def conventions(self) -> Conventions:
        """How the hospital writes cells, unless a recipe says otherwise."""
        formats = (self.date_format,) if isinstance(self.date_format, str) else self.date_format
        return Conventions(self.missing, self.decimal, self.thousands or "", formats)

    def recipes(self) -> Iterator[tuple[str, str, Recipe]]:
        """Yield the section, the name and the recipe of every column, in the order of computation."""
        for section, recipes in (("intermediate", self.intermediate), ("columns", self.columns)):
            for name, recipe in recipes.items():
                yield section, name, recipe

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the local columns that are read, each once."""
        names = (
            source for _, _, recipe in self.recipes() for source in recipe.sources if source not in self.intermediate
        )
        return tuple(dict.fromkeys(names))

    def notices(self, schema: Schema) -> list[str]:
        """Return where the mapping and a study disagree: labels and units that the study does not have."""
        notices = []
        for column in schema.columns:
            recipe = self.columns.get(column.name)
            if recipe is None or not column.modeled:
                continue
            where = f"[columns.{column.name}]"
            unlisted = [label for label in recipe.labels_given if column.check([label])]
            if unlisted:
                listed = ", ".join(f"'{label}'" for label in unlisted[:10])
                notices.append(f"{where} gives labels that the study does not list: {listed}; correct the mapping")
            grid = column.modeled[0].grid
            unit = None if grid is None or column.modeled[0].scale is not None else grid.unit
            if unit is not None and recipe.unit_given is not None and not is_same(recipe.unit_given, unit):
                notices.append(
                    f"{where} gives numbers in {recipe.unit_given}, and the study asks for {unit}; correct study_unit"
                )
        return notices


def read_mapping(path: Path) -> tuple[Mapping, str]:
    """Return a mapping and the SHA-256 (hex) of its file and of the lists of labels that it names.

    Raises:
        SiteError: the file cannot be read or is not a valid mapping; the text names key, limit and remedy.
    """
    try:
        content = path.read_bytes()
        if len(content) > LONGEST_FILE:
            raise SiteError(f"mapping '{path}' has more than {LONGEST_FILE // 10**6} MB; move long lists to files")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise SiteError(
            f"cannot read mapping '{path}': {cause_of(problem)}; correct `mapping` in site.toml, or write the file "
            "with `fedsynth site map`"
        ) from None
    mapping = parse_mapping(text, path)
    digest = sha256(content)
    for _, name, recipe in mapping.recipes():
        if isinstance(recipe, Lookup):
            try:
                digest.update(sha256(recipe.file.read_bytes()).digest())
            except OSError as problem:
                raise SiteError(
                    f"{path}: [columns.{name}] cannot read '{recipe.file}': {cause_of(problem)}; correct file"
                ) from None
    return mapping, digest.hexdigest()


def parse_mapping(text: str, path: Path) -> Mapping:
    """Parse the text of a mapping; `path` is where it is, and its folder is where relative paths start.

    Raises:
        SiteError: not a valid mapping; the text names key, limit and remedy.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SiteError(f"mapping '{path}' is not valid TOML: {problem}") from None
    for section in ("intermediate", "columns"):
        tables = document.get(section, {})
        for table in tables.values() if isinstance(tables, dict) else ():
            if isinstance(table, dict) and isinstance(table.get("file"), str):
                table["file"] = str(path.parent.resolve() / table["file"])
    try:
        return Mapping.model_validate(document)
    except ValidationError as problem:
        raise SiteError(f"{path}: {_located(problem, document)}") from None


def _located(problem: ValidationError, document: dict[str, Any]) -> str:
    """Return every error in words; where a recipe's own check fails, with the recipe's place in front."""

    def known_keys(place: Place) -> list[str]:
        match place:
            case (section, name, *_) if section in ("intermediate", "columns"):
                operation = document[section][name].get("operation", "copy")
                return [field.alias or key for key, field in OPERATIONS[operation].model_fields.items()]
        return list(Mapping.model_fields)

    places = {
        ".".join(map(str, error["loc"][:2]))
        for error in problem.errors()
        if error["type"] == "value_error" and len(error["loc"]) > 1
    }
    text = explain(problem, known_keys)
    return f"[{', '.join(sorted(places))}]: {text}" if places else text
