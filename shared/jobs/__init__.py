"""Work for later, promised in the transaction that caused it. Payloads hold ids only; every one names its tenant."""
