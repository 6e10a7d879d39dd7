"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "pgreplkit"
author = "the pgreplkit authors"
release = version = installed_version("pgreplkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "pgreplkit"
exclude_patterns = ["_build"]

napoleon_use_ivar = True
# Server versions or roles that a function requires, and the catalogs and functions it reads.
napoleon_custom_sections = ["Needs", "Source"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
# Fields that are called bytes make the builtin type ambiguous as the target of a link.
suppress_warnings = ["ref.python"]
