"""What stands in for what, of the modules here that hold no tests.

A provider: `seller` says what it is told to say, for what follows from it; `shelf` has prices, subscriptions and usage,
all in sight; `memory_provider` is a whole one that is not Stripe, and `market` puts it in Stripe's place with our price
list; `worlds` moves it and the Stripe stand-in by the same verbs; `stub` is a bare server that answers wrongly.

What a test finds: `shop` cleans up what the one before sold, `selling` publishes and prices a plan, `events` stores
webhooks as intake does, `webhooks` signs them as Stripe does, or as nobody should.

Proofs of convergence: `truth` is the published table once more, `held` what our rows give, both by time;
`model_checker` walks every interleaving, `histories` plays random ones in memory; `kills` and `outage` are commands,
with worker processes, kill -9 and a provider that is gone.
"""
