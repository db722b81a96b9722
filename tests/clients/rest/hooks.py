"""What schemathesis does not know by itself: how bytes become the body of an upload."""

import schemathesis


@schemathesis.serializer("application/wasm")
def wasm(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()
