"""The log, work streams, view rows and blobs: one contract, kept by Redis or by memory."""
