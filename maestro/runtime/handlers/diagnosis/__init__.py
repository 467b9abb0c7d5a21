"""What `doctor` and `up` find of the namespace beside this node: sealed history, other nodes, open alerts."""
