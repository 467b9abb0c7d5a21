"""The embedded store: a private Valkey or Redis server below MAESTRO_HOME, chosen where no URL names another."""
