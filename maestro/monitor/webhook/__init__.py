"""Webhooks: alerts are sent to URLs of users, which may be slow, broken or hostile, as Standard Webhooks says."""
