"""What each tenant costs, and limits that operators set for a while."""
