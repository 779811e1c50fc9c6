"""
Live: what nodes know of sessions, topics, users and themselves, and what is done with sessions.

``views``    the operations: each asks all nodes at each request; who did not answer in time is
             named in ``missing``
``queries``  what may be asked
``rows``     what is answered, with examples for the document
"""
