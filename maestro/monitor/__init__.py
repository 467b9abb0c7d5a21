"""The monitor, a process of its own beside the daemon: it has checks made, shows, delivers alerts, serves metrics."""
