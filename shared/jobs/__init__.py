"""Work for later, promised in the transaction that caused it. Payloads hold ids, or the address that
somebody typed where no row may tell whether there is an account; every one names its tenant or is the platform's."""
