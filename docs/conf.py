"""Sphinx configuration."""

import re
from importlib.metadata import version as installed_version

project = "pgreplkit"
author = "the pgreplkit authors"
release = version = installed_version("pgreplkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "pgreplkit"
exclude_patterns = ["_build"]

napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
# Fields that are called bytes make the builtin type ambiguous as the target of a link.
suppress_warnings = ["ref.python"]

_LABEL = re.compile(r"(Raises|Needs|Source): +(?=\S)|(Needs|Source):$")


def fields_from_labels(app, what, name, obj, options, lines):
    """Turn paragraphs such as ``Raises: ConnectionFailed.`` into fields, which Sphinx lays out.

    A ``Raises:`` on a line of its own is a section, which napoleon parses.
    """
    fields, in_field = [], False
    separate = [part for line in lines for part in re.split(r"  +(?=(?:Needs|Source): )", line)]
    for line in separate:
        if label := _LABEL.match(line):
            if not in_field:
                fields.append("")
            fields.append(f":{label[1] or label[2]}: {line[label.end() :]}".rstrip())
            in_field = True
        else:
            in_field = in_field and bool(line.strip())
            fields.append(f"    {line}" if in_field else line)
    lines[:] = fields


def setup(app):
    app.connect("autodoc-process-docstring", fields_from_labels, priority=400)  # before napoleon
