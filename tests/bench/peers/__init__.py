"""The same table in other frameworks, each as its documentation recommends. Runs in the peers' environment."""
