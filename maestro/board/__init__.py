"""The board: a page on loopback that shows the namespace at any position of its log, and acts through the daemon."""
