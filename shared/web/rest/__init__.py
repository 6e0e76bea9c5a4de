"""The REST APIs `/api/v1` and `/api/operator/v1`: FastAPI routes of the endpoints that the manifests declare."""
