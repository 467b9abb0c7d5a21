"""The format of an archive on the disk: packs, their index, manifests and listings, and what they may say."""
