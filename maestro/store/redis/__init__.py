"""The store on a Redis or Valkey server: log, work streams, views, blobs, and the Lua scripts that they run there."""
