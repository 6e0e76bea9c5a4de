"""Outbound webhooks: tenants register endpoints, and what happens in the tenant is sent to them.

Services record what happens; each public event is a row of `event_outbox`. The dispatcher makes a delivery of it for each
endpoint that subscribes, and sends it until the endpoint takes it or about a day has passed.
"""
