"""The sandbox of an isolated run: what it may see and reach, as bubblewrap or as a container of an engine."""
