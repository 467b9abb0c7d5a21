"""Agent definitions (YAML to structs), adapters, and the rules that judge how a run ended."""
