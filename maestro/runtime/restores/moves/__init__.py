"""Moves of agents to this node, with their workspaces from an archive, where their own node is away."""
