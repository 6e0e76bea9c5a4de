"""The hosted Checkout, `/c/{session}`: what is bought, what is due today, and a card number."""
def routes(sandbox): return []
