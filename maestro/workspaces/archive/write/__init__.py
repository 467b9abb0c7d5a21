"""Writing to an archive: walking a tree, reading what changed, keeping chunks, collecting what no snapshot needs."""
