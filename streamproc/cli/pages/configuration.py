"""docs/reference/configuration.md: every option of a service file."""

from __future__ import annotations

from streamproc.cli.pages.markdown import page
from streamproc.cli.pages.options import groups, option_table, summary
from streamproc.config.service import Service

_INTRODUCTION = """\
One YAML or JSON file says what a service does. Unknown keys are errors. Units are in the
names: `...S` is seconds, `...Bytes` and `...Messages` count what they say. `streamproc lint
FILE` reports every problem of a file with its place; what it lets pass starts."""

_VALUES = """\
## Values from elsewhere

`${env:NAME}` stands for an environment variable and `${file:path}` for the content of a file
(without its last line end; the path is relative to the configuration file), anywhere in a
value. They are put in before anything is checked. What they hold is treated as secret: it
appears in no message. A number or truth may come from there too. A password in a `uri` must
be percent-encoded, wherever it comes from. `$${env:` stands for `${env:` itself; other
`${...}` are Ditto's, and pass untouched."""

_YAML = """\
## YAML

Words mean what YAML 1.2 says: `no`, `on` and `12:30` are text. Aliases (`&name`, `*name`) and
`<<` work. A key written twice is an error."""

_FOLDER = """\
## Connections in files of their own

`connectionsDir` names a folder with one connection a file (`.json`, `.yaml`, `.yml`), read in
the order of the names. Files that begin with a dot are passed over. Ids must be unique over
all of them. A connection as Ditto's API returns it can be put there as it is."""


def configuration() -> str:
    """The page."""
    sections = [
        f"## {model.__name__}\n\n{summary(model)}\n\n{option_table(model)}"
        for model in groups(Service)
    ]
    return page(
        "streamproc/config/service.py` and `streamproc/config/connection.py",
        "Configuration",
        _INTRODUCTION,
        *sections,
        _VALUES,
        _YAML,
        _FOLDER,
    )
