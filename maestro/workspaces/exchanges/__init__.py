"""Exchanges: stages put in the place of workspaces, each wholly old or wholly new after a crash at any instant."""
