"""The shell around the core: daemon and protocol, worker, scheduler loop, launcher and warden."""
