"""Named objects that several nodes reach: files of a shared folder, or objects of a bucket.

Nothing here knows of archives. Each object appears whole or not at all, and nothing relies on conditional writes.
"""
