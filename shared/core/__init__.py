"""Infrastructure without business rules: settings, database, contexts, errors, keys, caches, limits, logs."""
