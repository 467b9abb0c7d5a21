"""The store on a Redis or Valkey server: log, work streams, views and blobs, and the Lua scripts that run there."""
