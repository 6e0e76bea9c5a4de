"""The REST API `/api/v1`: FastAPI routes of the endpoints that the manifests declare."""
