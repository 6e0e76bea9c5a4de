"""Answers migration 0001's `from procrastinate.schema import SchemaManager` with the schema that it landed with."""

from pathlib import Path


class SchemaManager:
    @staticmethod
    def get_schema() -> str:
        return Path(__file__).with_name("procrastinate_3_10_0.sql").read_text(encoding="utf-8")
