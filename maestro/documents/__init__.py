"""Documents that people write: YAML within limits that knows the line of each value, and its conversion to structs."""
