"""Traces: what the log tells as spans of OpenTelemetry, without its libraries."""
