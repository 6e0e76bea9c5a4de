"""`bulkhead doctor`: what is wrong with an installation, part by part. It runs when parts are away."""
