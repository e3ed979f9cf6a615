"""The source of truth for money: double entry in PostgreSQL."""
