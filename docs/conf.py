"""Sphinx configuration."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "pgreplkit"
author = "the pgreplkit authors"
release = version = installed_version("pgreplkit")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "notebooks",
    "reference",
]
smartquotes = False  # and 10 % less time
html_theme = "furo"
html_title = "pgreplkit"
html_search_scorer = str(Path(__file__).with_name("search.js"))
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "inherited-members": True,
}
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
# Every type in a signature is a link. These have no target: type variables, aliases that are not
# public, and types of projects without an inventory.
nitpicky = True
_WITHOUT_TARGET = "|".join(
    [
        *("R", "Item", "Default"),
        *("Converter", "TableReader"),
        *("Axes", "NDArray", "SearchStrategy", "metrics_core.Metric", "uint64"),
        *("numpy.dtype", "numpy.ndarray"),
        *("metrics.Meter", "trace.Tracer"),
    ]
)
nitpick_ignore_regex = [("py:.*", rf"(.*\.)?({_WITHOUT_TARGET})")]
# Fields that are called bytes make the builtin type ambiguous as the target of a link.
suppress_warnings = ["ref.python"]

# The few names that the pages link to are listed in local inventories: the build needs no network.
intersphinx_mapping = {
    name: (url, f"inventories/{name}.txt")
    for name, url in {
        "attrs": "https://www.attrs.org/en/stable",
        "packaging": "https://packaging.pypa.io/en/stable",
        "psycopg": "https://www.psycopg.org/psycopg3/docs",
        "python": "https://docs.python.org/3",
    }.items()
}
