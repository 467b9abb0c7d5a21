"""The on-disk format of an archive: packs, their index, manifests and listings, and which values these may hold."""
