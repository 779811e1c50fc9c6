"""
Access: who may connect, from where, and what they may do.

::

    Origin of the page ──> origins         is it ours, or allowed? do its cookies count?
    CONNECT ─────────────> authentication  who is it? the first authenticator that knows
    the API, SSE ────────> credentials     the same, of an HTTP request
    SUBSCRIBE, SEND, ────> rules           may it? the routing table says who may do what
      publish, look back   signing         or a token says so, which a back end gave to the page
    a change of a user ──> standing        does the login hold still?
    a new topic ─────────> topic_quota     does the account make too many?
    too much of anything > limits          how much is that, and who is it?

An authenticator is a function ``(credentials) -> login | None``, async or not: it returns None
where there is nothing that it could judge, and raises :class:`~realtime.stomp.AccessDenied` where
what there is is wrong. ``STOMP_AUTHENTICATORS`` lists them; every door asks the same ones. With
``of_many`` it is asked once for all who wait for it at the same time.

Why so:

* The own origin has to be an allowed host, or DNS rebinding would make any page ours.
* Cookies count from the gateway's own origin only: a strange page must not speak for its visitor,
  however many origins are allowed.

May import ``conf``, ``concurrency``, ``destinations``, ``routes`` and ``stomp``.
"""
