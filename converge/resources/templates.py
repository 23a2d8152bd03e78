"""Templates, rendered on the controller by Jinja2: sandboxed, and strict about what is not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def render(name: str, load: Callable[[str], bytes], variables: Mapping[str, Any]) -> bytes:
    """The template `name`, with what it includes, extends and imports read by `load`.

    A line that holds a block tag only leaves no empty line behind. Raises ValueError naming the
    template and line.
    """
    # Workflows import the resource types; they render nothing.
    from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateError
    from jinja2.exceptions import SecurityError, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Files(BaseLoader):
        def get_source(
            self, environment: Environment, template: str
        ) -> tuple[str, str, Callable[[], bool]]:
            try:
                return load(template).decode(), template, lambda: True
            except UnicodeDecodeError as error:
                raise ValueError(f"{template} is not UTF-8 at byte {error.start}") from None

    environment = ImmutableSandboxedEnvironment(
        loader=Files(),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.get_template(name).render(**variables).encode()
    except TemplateSyntaxError as error:
        where = f"{error.name or name}, line {error.lineno}"
        raise ValueError(f"template {where}: {error.message}") from None
    except SecurityError as error:
        raise ValueError(f"template {_where(error, name)}: not allowed here: {error}") from None
    except (TemplateError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
        raise ValueError(f"template {_where(error, name)}: {error}") from None


def _where(error: BaseException, name: str) -> str:
    """The innermost line of a template that the error came through."""
    place = name
    step = error.__traceback__
    while step is not None:
        # Jinja2 rewrites its tracebacks to the templates' own names and lines.
        if "__jinja_exception__" in step.tb_frame.f_globals:
            place = f"{step.tb_frame.f_code.co_filename}, line {step.tb_lineno}"
        step = step.tb_next
    return place
