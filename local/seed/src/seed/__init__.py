"""Support tickets of invented customers: generated, and kept in PostgreSQL."""
