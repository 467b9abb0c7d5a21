"""What keeps the views bounded: which rows go and where, and how those are told that have gone."""
