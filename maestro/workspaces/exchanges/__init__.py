"""Exchanges: swap stages in for workspaces, each wholly old or wholly new after a crash at any instant."""
