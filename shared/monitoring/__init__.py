"""What operators see of a running platform: traffic of each minute, and the state of alerts."""
