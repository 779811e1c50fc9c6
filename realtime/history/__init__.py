from realtime.routes.topics import History

__all__ = ["History"]
