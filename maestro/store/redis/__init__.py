"""The store over a Redis or Valkey server."""
