"""The history of the registry's schema: one module of `versions` per change, run by alembic at start."""
