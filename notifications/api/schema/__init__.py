"""
Schema: what the OpenAPI document says of each operation.

What drf-spectacular reads from the code by itself is not said again here: addresses, methods and
fields of serializers.

``operations``  a decorator for each operation, which its view wears
``answers``     what is answered, and what is said when something is wrong
``document``    the rest of the document: credentials, tags, and the events
``pages``       the document, and the page that shows it
"""
