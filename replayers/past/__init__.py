"""What is no row any more: the index of sealed history, and the versions that the log may forget."""
