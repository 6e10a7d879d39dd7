"""The rows that servers answer with, and the SQL that asks for them."""
