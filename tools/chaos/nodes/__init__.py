"""Chaos with several hosts: network namespaces, nodes, a store with a replica, Sentinels, an older release."""
