"""Many clients, while Redis and the gateway come and go: see ``__main__``."""
