"""Settings and parts: frozen values that check themselves, and say in words what would work."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class SettingError(ValueError):
    """What the user asked for cannot be done; the message names field, value and remedy."""


class Settings(BaseModel):
    """A frozen record of settings.  Unknown keys are refused; equal settings compare equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    renamed: ClassVar[
        Mapping[str, str]
    ] = {}  # keys of earlier versions -> what they are called now

    @model_validator(mode="before")
    @classmethod
    def _look_over(cls, values: Any) -> Any:
        """Unknown names, and values that Python would quietly take for something else."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if name in cls.renamed:
                raise trouble(f"{name} is called {cls.renamed[name]} now")
            if name not in cls.model_fields:
                remedy = nearest(str(name), cls.model_fields)
                raise trouble(f"{shown(name)} is not a setting: {remedy}")
            wanted = cls.model_fields[name].annotation
            if wanted in (int, float) and isinstance(value, (bool, str)):
                raise trouble(f"{name} is {shown(value)}: it should be a number")
            if wanted is bool and not isinstance(value, bool):
                raise trouble(f"{name} is {shown(value)}: it should be true or false")
        return values

    @classmethod
    def read(cls, values: Any, where: str = "") -> Self:
        """Check `values`.  Raises SettingError that names each wrong field, `where` before it."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingError(explain(error, where)) from None

    def dump(self) -> Any:
        """Plain values, as a file would hold them; what is None is left out."""
        return self.model_dump(mode="json", exclude_none=True)


class Component(Settings):
    """A piece of a run, chosen by its `kind`.

    A family of parts (Rule, Split...) is abstract and owns a `table` from kind to part, filled by
    `enter`.  A field typed by a family accepts a part, a mapping with `kind`, or the bare kind.
    """

    table: ClassVar[dict[str, type[Self]]] = {}
    source: ClassVar[str] = ""  # the paper behind the part, for the catalogue
    kind: str = ""  # a final part narrows it to a literal
    title: ClassVar[str] = ""  # display name, for people

    @classmethod
    def is_family(cls) -> bool:
        return "table" in vars(cls)

    @classmethod
    def family(cls) -> type[Component]:
        """The family that this part belongs to."""
        return next(
            base for base in cls.__mro__ if issubclass(base, Component) and base.is_family()
        )

    @classmethod
    def enter(cls, *parts: type[Self]) -> dict[str, type[Self]]:
        """Put `parts` in the family's table, by kind.  -> those parts"""
        entered = {part.model_fields["kind"].default: part for part in parts}
        cls.table.update(entered)
        return entered

    @classmethod
    def pick(cls, value: Any) -> Self:
        """The part of this family that `value` describes."""
        if isinstance(value, cls):
            return value
        fields = {"kind": value} if isinstance(value, str) else value
        if not isinstance(fields, Mapping) or not isinstance(fields.get("kind"), str):
            known = ", ".join(cls.table)
            raise PydanticCustomError("kind", "it needs a kind, one of {known}", {"known": known})
        if fields["kind"] not in cls.table:
            remedy = nearest(fields["kind"], cls.table)
            raise PydanticCustomError("kind", "there is no such kind: {remedy}", {"remedy": remedy})
        return cls.table[fields["kind"]].model_validate(fields)

    @classmethod
    def about(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def named(self) -> str:
        """The title with the settings behind it, such as "Dirichlet label skew (alpha 0.3)"."""
        settings = [
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in self
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        ]
        return f"{self.title} ({', '.join(settings)})" if settings else self.title

    @classmethod
    def notes(cls) -> dict[str, str]:
        """What the catalogue says of it besides: whom it takes, what it knows, where it fails."""
        return {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not cls.is_family():
            return handler(source)
        written = core_schema.plain_serializer_function_ser_schema(lambda part: part.dump())
        return core_schema.no_info_plain_validator_function(cls.pick, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        if not cls.is_family():
            return handler(schema)
        parts = [part.model_json_schema() | {"required": ["kind"]} for part in cls.table.values()]
        return {"anyOf": [{"enum": list(cls.table)}, *parts]}


def nearest(given: str, known: Iterable[str]) -> str:
    """What the user may have meant, or all that there is."""
    names = list(known)
    close = difflib.get_close_matches(given[:100], names, n=1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names)}"


def shown(value: Any) -> str:
    """A value within a message: however much was given, it stays a few words on one line."""
    if isinstance(value, str) and value.isascii() and value.isidentifier() and len(value) < 40:
        return value
    return reprlib.repr(value)


def explain(error: ValidationError, where: str = "") -> str:
    """One line a wrong field: its name, the value that was given, and what would work."""
    lines = [_line(dict(wrong), where) for wrong in error.errors(include_url=False)]
    return "\n".join(lines[:2]) + (f" (and {len(lines) - 2} more)" if len(lines) > 2 else "")


def trouble(message: str) -> PydanticCustomError:
    """Return an error for a validator, whose message begins with the name of a setting."""
    return PydanticCustomError("trouble", "{message}", {"message": message})


def _line(wrong: dict[str, Any], where: str) -> str:
    path = ".".join(str(step) for step in ([where] if where else []) + list(wrong["loc"]))
    if wrong["type"] == "value_error":  # ours: it has said everything
        message = str(wrong["ctx"]["error"])
        return message if not path or message.startswith(path) else f"{path}: {message}"
    if wrong["type"] == "trouble":
        return f"{path}.{wrong['msg']}" if path else str(wrong["msg"])
    given = wrong["input"]
    if isinstance(given, Mapping) and "kind" in given:
        path, given = f"{path}.kind", given["kind"]
    advice = wrong["msg"].replace("Input should be", "it should be")
    return f"{path or 'what was given'} is {reprlib.repr(given)}: {advice}"
