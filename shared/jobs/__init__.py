"""Background jobs, enqueued in the caller's transaction. Payloads hold ids; password resets hold the typed address,
because a look-up could reveal whether an account exists. Every job names its tenant or belongs to the platform."""
