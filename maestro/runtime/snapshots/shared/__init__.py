"""The shared archive (`MAESTRO_ARCHIVE_URL`): each node copies its snapshots there, and reads what the others have."""
