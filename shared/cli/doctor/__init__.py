"""`bulkhead doctor`: what is wrong with an installation, part by part, also where parts are away."""
