"""Templates, filled with data that nobody has checked: in HTML and XML it is text, whatever stands in it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).with_name("templates")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def rendered(template: str, told: dict[str, Any], clean: Callable[[str], str] = str) -> str:
    """A template with what is to be told; each text in it goes through `clean` first."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=template.endswith((".html", ".xml")),
        undefined=StrictUndefined,
        finalize=lambda value: clean(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = one_line
    return environment.get_template(template).render(**told)


def one_line(text: str) -> str:
    """Text from data in one line: no line break or other control character can end a header or begin a line."""
    return _CONTROL.sub(" ", text).strip()
