"""Machinery without business words: settings, database, contexts, errors, keys, caches, limits, logs."""
