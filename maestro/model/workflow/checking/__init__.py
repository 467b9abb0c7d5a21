"""The parts of the checks of a definition: its templates, and the scripts in which values must be words."""
