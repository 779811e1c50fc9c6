class NotSigned(Exception): ...


def verify(token: str, destination: str, user_name: str | None) -> float:
    raise NotSigned("stub")
