"""The sandbox of an isolated run: what the run may see and reach, held by bubblewrap or a container engine."""
