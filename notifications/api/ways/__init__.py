"""
Ways: how a request passes through the API.

::

    request ──> ApiHandler ──┬──> short: a POST like one that was answered a moment ago ──> Redis
                             └──> long: Django on one thread ──> PublishView ──> Redis
                                    └──> callers: who that was, and what was answered

``long``     SynchronousHandler: Django's stack on one thread
``short``    ApiHandler: what is published without Django, and what is left to it
``callers``  Callers: who posted a moment ago, until the user changes

Why so:

* Services post the same request again and again, with another body. Django finds out who it is,
  what it may and which headers the answer has; the next one that is the same but for its body,
  within a minute, is answered with what Django said.
* The short way can only say yes. Whatever it does not know, or does not like, Django answers, and
  nothing has been done or counted by then: so no error is written twice, and what is refused is
  refused as ever.
"""
