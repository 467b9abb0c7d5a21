"""The log, work streams, view rows and blobs of a namespace: one contract, implemented over Redis or in memory."""
